"""The networks that a loss takes its signal from."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias, cast

from torch import Tensor, nn

from mtlue._losses.base import BaseUELoss
from mtlue._losses.surrogate import Surrogate
from mtlue._runtime.identity import checksum, tensors_digest, tensors_in, text_digest

Checkpoint: TypeAlias = nn.Module | Mapping[str, Tensor]


def check_state(state: Mapping[str, Tensor], module: nn.Module) -> None:
    """Check that a state dict is one of a module.

    Raises:
        ValueError: it is not.
    """
    # A call with a state fills what is missing from the module itself, without a word.
    expected = {name: tensor.shape for name, tensor in module.state_dict().items()}
    found = {name: getattr(tensor, "shape", None) for name, tensor in state.items()}
    wrong = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    if wrong:
        raise ValueError(f"checkpoints: not state dicts of the surrogate, they differ in {', '.join(wrong[:3])}")


def judged_surrogate(loss: BaseUELoss, surrogate: Surrogate) -> Surrogate:
    """The network that has to be trained where a loss wants it: its last checkpoint, a copy of it where that is a state dict.

    Raises:
        ValueError: a state dict is not one of the surrogate.
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
    """Checksums of the networks that a loss takes its signal from, by name: only with the same does a run go on.

    A surrogate that is trained is told by the shapes of its state: its values are taken from the interrupted call, and may
    have changed in it. So it is with all that a loss with a state of its own holds.
    """
    if loss.trains_surrogate:
        shapes = [(name, tuple(getattr(value, "shape", ()))) for name, value in surrogate.module.state_dict().items()]
        digests = {"surrogate": text_digest(repr(shapes))}
    else:
        digests = {"surrogate": tensors_digest(tensors_in(surrogate.module))}
    if not has_state(loss):
        held = {name: list(tensors_in(value)) for name, value in getattr(loss, "__dict__", {}).items()}
        digests |= {name: tensors_digest(tensors) for name, tensors in held.items() if tensors}
    return {name: checksum(digest) for name, digest in digests.items()}


def has_state(loss: BaseUELoss) -> bool:
    """Whether a loss has a state of its own, which a run that goes on needs."""
    return hasattr(loss, "state_dict") and hasattr(loss, "load_state_dict")


def state_of(loss: BaseUELoss) -> dict[str, Any]:
    """The entry of a checkpoint with a loss' own state; none where it has no state."""
    return {"loss": cast("Any", loss).state_dict()} if has_state(loss) else {}


def restore_state(loss: BaseUELoss, state: Mapping[str, Any]) -> None:
    """Give a loss the state that `state_of` put into a checkpoint."""
    if has_state(loss):
        cast("Any", loss).load_state_dict(state["loss"])


@contextmanager
def kept_state(loss: BaseUELoss) -> Iterator[None]:
    """Put a loss' own state back afterwards: a look at what it says of a batch is no step."""
    before = copy.deepcopy(state_of(loss))
    try:
        yield
    finally:
        restore_state(loss, before)
