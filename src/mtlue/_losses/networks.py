"""The networks that a loss takes its signal from."""

from __future__ import annotations

import copy
import functools
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

from torch import Tensor, nn

from mtlue._losses.base import BaseUELoss, has_state
from mtlue._losses.surrogate import Surrogate
from mtlue._runtime import checksum, tensors_digest, tensors_in, text_digest

Checkpoint: TypeAlias = nn.Module | Mapping[str, Tensor]


def check_checkpoints(checkpoints: object) -> None:
    """Check the networks that a loss uses in place of the surrogate.

    Raises:
        TypeError: they are not a list, or one of them is neither a module nor a state dict.
    """
    if not isinstance(checkpoints, Sequence | nn.ModuleList):
        raise TypeError(f"checkpoints: expected a list of modules or state dicts, got {type(checkpoints).__name__}")
    for position, checkpoint in enumerate(checkpoints):
        if not isinstance(checkpoint, nn.Module | Mapping):
            raise TypeError(f"checkpoints[{position}]: expected a module or a state dict, got {type(checkpoint).__name__}")


def check_state(state: Mapping[str, Tensor], module: nn.Module) -> None:
    """Check that a state dict belongs to a module.

    Raises:
        ValueError: it does not.
    """
    # A functional call with a state silently fills missing entries from the module.
    expected = {name: tensor.shape for name, tensor in module.state_dict().items()}
    found = {name: getattr(tensor, "shape", None) for name, tensor in state.items()}
    wrong = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    if wrong:
        raise ValueError(f"checkpoints: expected state dicts of the surrogate, but they differ in {', '.join(wrong[:3])}")


def judged_surrogate(loss: BaseUELoss, surrogate: Surrogate) -> Surrogate:
    """Return the network that has to be trained: the surrogate, or the last checkpoint of the loss.

    If the checkpoint is a state dict, the network is a copy of the surrogate.

    Raises:
        ValueError: a state dict does not belong to the surrogate.
    """
    checkpoints: Sequence[Checkpoint] = getattr(loss, "checkpoints", ())
    if not checkpoints:
        return surrogate
    last = checkpoints[-1]
    if isinstance(last, nn.Module):
        return surrogate.with_module(last)
    for state in checkpoints:
        if not isinstance(state, nn.Module):
            check_state(state, surrogate.module)
    module = copy.deepcopy(surrogate.module)
    module.load_state_dict(last)
    return surrogate.with_module(module)


def networks_of(loss: BaseUELoss, surrogate: Surrogate) -> dict[str, str]:
    """Return checksums, by name, of the networks that a loss takes its signal from. Only a run with equal ones resumes.

    A surrogate that is trained counts only by the shapes of its state: its values come from the interrupted call, which may
    have changed them. What is in the state of a loss is left out for the same reason.
    """
    if loss.trains_surrogate:
        shapes = [(name, tuple(getattr(value, "shape", ()))) for name, value in surrogate.module.state_dict().items()]
        digests = {"surrogate": text_digest(repr(shapes))}
    else:
        digests = {"surrogate": tensors_digest(tensors_in(surrogate.module))}
    held = {name: list(tensors_in(value)) for name, value in _held(loss)}
    state = list(tensors_in(state_of(loss)))
    live, places = {tensor.data_ptr() for tensor in state}, {each.data_ptr() for values in held.values() for each in values}
    # A loss may hand out copies, which are compared by value.
    copies = {tensors_digest([tensor]) for tensor in state if tensor.data_ptr() not in places}
    for name, tensors in held.items():
        fixed = [each for each in tensors if each.data_ptr() not in live and tensors_digest([each]) not in copies]
        if fixed:
            # Whatever their names in a user's loss, they are not mistaken for settings of the run.
            digests[name if name == "checkpoints" else f"loss's {name}"] = tensors_digest(fixed)
    return {name: checksum(digest) for name, digest in digests.items()}


def _held(loss: object) -> Iterator[tuple[str, object]]:
    """Return what a loss holds, by name. For `functools.partial`, include what it binds."""
    if isinstance(loss, functools.partial):
        yield from _held(loss.func)
        yield from ((f"argument {position}", value) for position, value in enumerate(loss.args))
        yield from loss.keywords.items()
    yield from getattr(loss, "__dict__", {}).items()


def trains_itself(loss: BaseUELoss, module: nn.Module) -> bool:
    """Return whether a loss has the parameters of a module in its state."""
    live = {tensor.data_ptr() for tensor in tensors_in(state_of(loss))}
    return any(parameter.data_ptr() in live for parameter in module.parameters())


def state_of(brought: object, argument: str = "loss") -> dict[str, Any]:
    """Return the entry of a checkpoint for the state of a caller's object, or an empty one if it has no state.

    Args:
        brought: A loss, or any other argument of a run that may have a ``state_dict``.
        argument: Its name in messages and in the entry.

    Raises:
        TypeError: its state holds something that cannot be read back from a file.
    """
    if not has_state(brought):
        return {}
    state = cast("Any", brought).state_dict()
    for where, value in _leaves(state, "state_dict()"):
        if not isinstance(value, Tensor) and type(value) not in (type(None), bool, int, float, str):
            name = type(brought).__name__
            raise TypeError(
                f"{argument}: expected tensors and plain values in the state of {name}, got {type(value).__name__} at {where}"
            )
    return {argument: state}


def check_own_state(brought: object, argument: str = "loss") -> None:
    """Check that an object with a state can restore it, and that a file can hold it.

    Raises:
        TypeError: one of these fails.
    """
    if has_state(brought) and not hasattr(brought, "load_state_dict"):
        raise TypeError(f"{argument}: {type(brought).__name__} has a state_dict, but no load_state_dict to take it back")
    state_of(brought, argument)


def _leaves(value: object, where: str) -> Iterator[tuple[str, object]]:
    if type(value) in (dict, OrderedDict):
        for name, each in cast("dict[object, object]", value).items():
            yield from _leaves(each, f"{where}[{name!r}]")
    elif type(value) in (list, tuple):
        for position, each in enumerate(cast("list[object]", value)):
            yield from _leaves(each, f"{where}[{position}]")
    else:
        yield where, value


def restore_state(brought: object, state: Mapping[str, Any], argument: str = "loss") -> None:
    """Restore the state that `state_of` put into a checkpoint."""
    if has_state(brought):
        cast("Any", brought).load_state_dict(state[argument])


@contextmanager
def kept_state(loss: BaseUELoss) -> Iterator[None]:
    """Restore a loss's own state afterwards: evaluating it on a batch must not count as a step."""
    before = copy.deepcopy(state_of(loss))
    try:
        yield
    finally:
        restore_state(loss, before)
