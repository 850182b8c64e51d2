"""The metric of a kind of task of which nothing else is known."""

from __future__ import annotations

import math

from torch import Tensor

from mtlue._tasks import Task
from mtlue.evaluation._metrics.base import TaskMetrics


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
