"""Which metrics a kind of task has."""

from __future__ import annotations

import math
from functools import singledispatch

from torch import Tensor

from mtlue._tasks import Task
from mtlue.evaluation._metrics.base import TaskMetrics


@singledispatch
def metrics_for(task: Task) -> TaskMetrics:
    """Fresh metrics of a task, which `evaluate` fills; its loss where none are registered for its kind.

    ``metrics_for.register`` takes those of a kind of your own: a class that is made from the task, or a function of it.

    Args:
        task: The task.

    Example:
        >>> import torch, mtlue
        >>> from mtlue import evaluation
        >>> errors = evaluation.metrics_for(mtlue.Depth())
        >>> errors.update(torch.full((1, 1, 2, 2), 3.0), torch.full((1, 1, 2, 2), 4.0))
        >>> errors.compute()
        {'absolute_error': 1.0, 'relative_error': 0.25}
    """
    return LossMetric(task)


class LossMetric(TaskMetrics):
    """The task's own loss, a mean over labelled samples.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._total, self._count = 0.0, 0

    def update(self, output: Tensor, target: Tensor) -> None:
        """See `TaskMetrics.update`."""
        # One by one: the loss of a batch would weight a sample by how much of it is labelled.
        for index in range(len(target)):
            one = slice(index, index + 1)
            if not bool(self._task.missing(target[one])[0]):
                self._total += float(self._task.loss(output[one].float(), target[one]))
                self._count += 1

    def compute(self) -> dict[str, float]:
        """The mean loss; NaN where there is no label."""
        return {"loss": self._total / self._count if self._count else math.nan}
