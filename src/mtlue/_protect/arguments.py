"""What the arguments of a call to `mtlue.protect` mean together."""

from __future__ import annotations

import copy
import json
import os
from typing import Any

from torch import nn
from torch.utils.data import Dataset

from mtlue._checks import check_batch_size, check_count
from mtlue._data import Inspection, infer_and_inspect, inspect_dataset
from mtlue._fit import FitPlan, check_loss
from mtlue._formats import WorkFolder
from mtlue._generator import UEGenerator
from mtlue._losses import BaseUELoss, Surrogate, has_state, networks_of
from mtlue._protect.stages import trained_by_this_call
from mtlue._runtime import Compute, Ranks, described, in_group, launched, tensors_digest, text_digest, together
from mtlue._tasks import Task, Tasks, resolve_tasks

#: The budget of a call that names none.
DEFAULT_EPSILON = 8 / 255


def ranks_for(path: str | os.PathLike[str] | None) -> Ranks:
    """Return which rank this process is.

    Raises:
        ValueError: several ranks have no folder to share.
    """
    ranks = launched()
    if ranks.size > 1 and path is None:
        raise ValueError(
            f"path: expected a folder that all {ranks.size} ranks can write to, got None; they divide the images between them "
            "and write one store"
        )
    return ranks


def needs_training(generator: UEGenerator | None, folders: WorkFolder | None, ranks: Ranks) -> bool:
    """Return whether this call, or an interrupted attempt at it, trains the generator.

    Raises:
        ValueError: several ranks would have to, and are not in a process group.
    """
    if generator is not None and generator.trained and not trained_by_this_call(generator, folders):
        return False
    if ranks.size > 1 and not in_group():
        raise ValueError(
            f"generator: expected a trained one, because the {ranks.size} ranks are in no process group in which to train it; "
            "call torch.distributed.init_process_group() first"
        )
    return True


def made_by(
    generator: UEGenerator | None,
    loss: BaseUELoss,
    surrogate: Surrogate | None,
    plan: FitPlan,
    *,
    untrained: bool,
) -> dict[str, Any]:
    """Return what decides the perturbations: a trained generator, or else everything that one is trained with."""
    if generator is not None and not untrained:
        return {"generator": tensors_digest(generator.state_dict().values())}
    # Not its weights, which the interrupted call has changed.
    made = None if generator is None else text_digest(json.dumps(generator.config()))
    trained = {"generator": made, "loss": described(loss), "batch_size": plan.batch_size}
    return trained if surrogate is None else {**trained, **networks_of(loss, surrogate)}


def tasks_for(
    dataset: Dataset[Any],
    tasks: Tasks | None,
    surrogate: nn.Module | Surrogate | None,
    generator: UEGenerator | None,
    num_workers: int,
) -> tuple[dict[str, Task], Inspection | None]:
    """Return the tasks: given, or those of a given model, or inferred from labels in a pass that inspects them as well."""
    if tasks is not None:
        return resolve_tasks(tasks), None
    if isinstance(generator, UEGenerator):
        return generator.tasks, None
    if isinstance(surrogate, Surrogate):
        return surrogate.tasks, None
    return infer_and_inspect(dataset, num_workers=num_workers)


def module_of(surrogate: nn.Module | Surrogate | None) -> nn.Module | None:
    """Return the module of a surrogate, whose device is where to compute. What is neither is refused later."""
    module = surrogate.module if isinstance(surrogate, Surrogate) else surrogate
    return module if isinstance(module, nn.Module) else None


def inspect_together(dataset: Dataset[Any], tasks: dict[str, Task], compute: Compute) -> Inspection:
    """Inspect a data set. In a process group each rank reads a part."""
    with together(compute.device):
        return inspect_dataset(dataset, tasks, num_workers=compute.num_workers)


def budget_of(generator: UEGenerator, tasks: dict[str, Task], epsilon: float) -> float:
    """Check that a given generator fits the other arguments, and return its budget.

    Raises:
        TypeError: it is not a generator.
        ValueError: it has other tasks or another budget.
    """
    if not isinstance(generator, UEGenerator):
        raise TypeError(f"generator: expected a mtlue.UEGenerator, got {type(generator).__name__}")
    if generator.tasks != tasks:
        raise ValueError(f"generator: its tasks {generator.tasks} differ from the tasks of this call, {tasks}")
    if epsilon not in (DEFAULT_EPSILON, generator.epsilon):
        raise ValueError(f"epsilon: {epsilon:.6g} is not the generator's {generator.epsilon:.6g}; leave it out")
    return generator.epsilon


def check_lengths(epochs: int | None, batch_size: int | None) -> None:
    """Refuse a training of no length before the data set is read, which tells what stands for the arguments that are None.

    Raises:
        TypeError: one of them is no integer.
        ValueError: one of them is out of range.
    """
    check_batch_size(batch_size)
    if epochs is not None:
        check_count("epochs", epochs, minimum=1)


def checkpoint_as_surrogate(loss: BaseUELoss | None) -> nn.Module | None:
    """Return the last network of a loss that uses checkpoints, for a caller who gives no surrogate as well.

    Raises:
        TypeError: it is no loss.
        ValueError: the checkpoints are state dicts, and their module was not given.
    """
    if loss is not None:
        check_loss(loss)
    checkpoints = getattr(loss, "checkpoints", ())
    if checkpoints and not isinstance(checkpoints[-1], nn.Module):
        name = type(loss).__name__
        raise ValueError(f"surrogate: {name}'s checkpoints are state dicts; give the module that they belong to")
    if not checkpoints:
        return None
    # A copy: the surrogate is frozen, while a loss with a state may train its networks.
    last: nn.Module = checkpoints[-1]
    return copy.deepcopy(last) if has_state(loss) else last
