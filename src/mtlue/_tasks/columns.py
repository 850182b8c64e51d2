"""Labels of many samples, read at once: one check a batch, not one a label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mtlue._tasks.alike import Alike
from mtlue._tasks.base import Task
from mtlue._tasks.checked_targets import CheckedTargets
from mtlue._tasks.resolve import read_single, split_by_task

_NUMBERS = ({int}, {float}, {bool})


def label_columns(targets: Sequence[object], tasks: Mapping[str, Task]) -> dict[str, Sequence[Any]]:
    """The labels of each task, one a sample, from the targets of several samples, each in any of its forms.

    Raises:
        ValueError: a task is missing, or the number of values is not the number of tasks.
        TypeError: the targets of a sample have none of these forms.
    """
    joined = _joined(targets) if all(isinstance(target, Tensor) for target in targets) else None
    if joined is not None and joined.ndim > 1:
        split: dict[str, Any] = split_by_task(joined, tasks, what="targets")
        return split
    by_sample = [split_by_task(target, tasks, what="targets") for target in targets]
    return {name: [labels[name] for labels in by_sample] for name in tasks}


def read_columns(columns: Mapping[str, Sequence[Any]], groups: Sequence[Alike]) -> CheckedTargets:
    """What `label_columns` gave, as checked tensors by task.

    Args:
        columns: Labels of each task.
        groups: The tasks to read, none of which has maps, as `alike_tasks` divides them.

    Raises:
        ValueError: a label is not one of its task's.
        TypeError: a label has a type that cannot be read.
    """
    alone: dict[str, Tensor] = {}
    stacks: dict[tuple[str, ...], Tensor] = {}
    for group in groups:
        task, names = group
        joined = [_joined(columns[name]) for name in names]
        kinds = {None if column is None or column[0].numel() != 1 else column.dtype for column in joined}
        if group.many and len(kinds) == 1 and None not in kinds:
            stack = torch.stack([column.flatten() for column in joined if column is not None], dim=1)
            # A batch may be of any length: the labels of the tasks are read as those of one, of as many more samples.
            stacks[names] = task.read_target(stack.flatten()).view_as(stack)
            continue
        for name, column in zip(names, joined, strict=True):
            if column is None:
                alone[name] = torch.cat([read_single(label, task) for label in columns[name]])
            else:
                alone[name] = task.read_target(column)
    return CheckedTargets(alone, stacks=stacks)


def _joined(labels: Sequence[Any]) -> Tensor | None:
    """Labels of one shape as one tensor; None where they have several, or are no numbers."""
    if isinstance(labels, Tensor):
        return labels
    if set(map(type, labels)) in _NUMBERS:
        return torch.tensor(labels)
    values = [torch.as_tensor(label) for label in labels]
    return torch.stack(values) if len({value.shape for value in values}) == 1 else None
