"""The base class of metrics, and the registry of metrics by kind of task."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import singledispatch

from torch import Tensor

from mtlue._tasks import RegressionMap, Task


class TaskMetrics(ABC):
    """Metrics of one task over all batches of a data set. They do not depend on the batch size.

    For a kind of task of your own, derive from this class and register yours with `metrics_for`.

    Example:
        >>> import torch, mtlue
        >>> from mtlue import evaluation
        >>> class Height(mtlue.Depth):
        ...     "Height above the ground."
        >>> @evaluation.metrics_for.register(Height)
        ... class LargestError(evaluation.TaskMetrics):
        ...     def __init__(self, task):
        ...         self.largest = float("nan")
        ...     def update(self, output, target):
        ...         self.largest = max(float((output - target).abs().max()), self.largest)
        ...     def compute(self):
        ...         return {"largest_error": self.largest}
        >>> found = evaluation.metrics_for(Height())
        >>> found.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 5.0]))
        >>> found.update(torch.tensor([4.0]), torch.tensor([3.0]))
        >>> found.compute()
        {'largest_error': 3.0}
    """

    @abstractmethod
    def update(self, output: Tensor, target: Tensor) -> None:
        """Add a batch: a model's output and the target, as the task reads them."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Return the values by name over all batches. A value is NaN if there was nothing to measure."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@singledispatch
def metrics_for(task: Task) -> TaskMetrics:
    """Return fresh metrics for a task, which `evaluate` fills. The task's loss stands in if its kind has none registered.

    Use ``metrics_for.register`` for a kind of task of your own. It takes a class that is made from the task, or a function of
    the task.

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
    """The task's own loss, as a mean over labelled samples.

    Args:
        task: The task.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._total, self._count = 0.0, 0

    def update(self, output: Tensor, target: Tensor) -> None:
        """See `TaskMetrics.update`."""
        # One by one: the loss of a batch would weight each sample by how much of it is labelled.
        for index in range(len(target)):
            one = slice(index, index + 1)
            if not bool(self._task.missing(target[one])[0]):
                self._total += float(self._task.loss(output[one].float(), target[one]))
                self._count += 1

    def compute(self) -> dict[str, float]:
        """Return the mean loss, or NaN if nothing is labelled."""
        return {"loss": self._total / self._count if self._count else math.nan}


def pixels_with_a_reading(task: RegressionMap, output: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield output and target of each sample at the pixels that have a reading, (n, C) in float64 on the CPU.

    One sample at a time makes the sums independent of the batches, and holds little in float64.

    Raises:
        ValueError: output and target differ in size.
    """
    task.check_same_shape(output, target)
    observed = task.observed(target).squeeze(1).cpu()
    for answer, truth, known in zip(output.detach().cpu(), target.cpu(), observed, strict=True):
        yield answer.movedim(0, -1)[known].double(), truth.movedim(0, -1)[known].double()
