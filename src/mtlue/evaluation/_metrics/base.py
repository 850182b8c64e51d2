"""What metrics are, and which a kind of task has."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import singledispatch

from torch import Tensor

from mtlue._tasks import RegressionMap, Task


class TaskMetrics(ABC):
    """Metrics of one task, gathered over all batches of a data set: they do not depend on the batch size.

    Derive from it for a kind of task of your own, and register it with `metrics_for`.

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
        """Take a batch: a model's output and the target, as the task reads them."""

    @abstractmethod
    def compute(self) -> dict[str, float]:
        """Values by name, over all that was taken; NaN where nothing was."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


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


def pixels_with_a_reading(task: RegressionMap, output: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Output and target of each sample at the pixels that have a reading, (n, C) in float64 on the CPU.

    Sample by sample: so sums are the same whatever the batches are, and little is held in float64.

    Raises:
        ValueError: the output's size is not the target's.
    """
    task.check_same_shape(output, target)
    observed = task.observed(target).squeeze(1).cpu()
    for answer, truth, known in zip(output.detach().cpu(), target.cpu(), observed, strict=True):
        yield answer.movedim(0, -1)[known].double(), truth.movedim(0, -1)[known].double()
