"""How far answers are above chance, and how far off chance itself may be."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

import torch
from torch import Tensor

from mtlue._tasks import Classification, Task

_SHUFFLES = 20
# The least that clean images must teach before a share of it means anything.
_LEAST = 0.1
_LEAST_OF_MAPS = 0.05


@singledispatch
def without_rates(task: Task, output: Tensor, target: Tensor) -> Tensor:
    """Take what a network knows of the labels' rates out of its answers.

    Otherwise no network ever answers with a rare class, and that class could not be judged.

    Args:
        task: The task.
        output: Answers (B, …).
        target: The labels that the network was trained on.
    """
    return output


@without_rates.register
def _(task: Classification, output: Tensor, target: Tensor) -> Tensor:
    known = target[target != task.ignore_index]
    rates = known.bincount(minlength=task.num_classes).float() / max(len(known), 1)
    return output - rates.clamp_min(1e-6).log().to(output.device)


def skill_of(task: Task, pairs: Sequence[tuple[Tensor, Tensor]]) -> float:
    """Return how far answers have come from chance (0) to perfect (1), as `Task.skill` measures it.

    Args:
        task: The task.
        pairs: Outputs and targets for each batch. Labels of whole images are measured together. Maps, which are large, are
            measured batch by batch.
    """
    if not task.is_map:
        output, target = (torch.cat(each) for each in zip(*pairs, strict=True))
        return task.skill(output, target)
    counted = [(task.skill(output, target), len(target)) for output, target in pairs if not bool(task.missing(target).all())]
    total = sum(count for _, count in counted)
    return sum(skill * count for skill, count in counted) / total if total else 0.0


def margin_of(task: Task, pairs: Sequence[tuple[Tensor, Tensor]], random: torch.Generator) -> tuple[float, float]:
    """Return the skill beyond luck, and two standard deviations of luck.

    Luck is what the same answers reach against labels that are shuffled among the samples.
    """
    if task.is_map:
        return _LEAST_OF_MAPS, 0.0
    output, target = (torch.cat(each) for each in zip(*pairs, strict=True))
    found = [task.skill(output, target[torch.randperm(len(target), generator=random)]) for _ in range(_SHUFFLES)]
    deviation = float(torch.tensor(found).std())
    return max(_LEAST, 3 * deviation), 2 * deviation
