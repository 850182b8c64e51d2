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
        >>> class Disparity(mtlue.Depth):
        ...     "Depth whose large errors count for more."
        >>> @evaluation.metrics_for.register(Disparity)
        ... class SquaredError(evaluation.TaskMetrics):
        ...     def __init__(self, task):
        ...         self.task, self.total, self.count = task, 0.0, 0
        ...     def update(self, output, target):
        ...         known = self.task.observed(target)
        ...         self.total += float((output - target)[known].square().sum())
        ...         self.count += int(known.sum())
        ...     def compute(self):
        ...         return {"squared_error": self.total / self.count if self.count else float("nan")}
        >>> images, far = torch.rand(4, 1, 2, 2), torch.full((4, 1, 2, 2), 3.0)
        >>> dataset = torch.utils.data.TensorDataset(images, far)
        >>> one = torch.nn.Conv2d(1, 1, 1)
        >>> with torch.no_grad():
        ...     _ = one.weight.zero_(), one.bias.fill_(1.0)
        >>> evaluation.evaluate(one, dataset, tasks={"disparity": Disparity()})
        {'disparity': {'squared_error': 4.0}}
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
