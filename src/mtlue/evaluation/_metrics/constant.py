"""The best answer to a task that ignores the image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import singledispatch

from torch import Tensor

from mtlue._tasks import Task


class BestConstant(ABC):
    """The best answer to a task that ignores the image, found from the labels of a set.

    `audit` measures it as it measures a model. Its headline metric is the chance level from which R counts.

    Example:
        >>> import torch, mtlue
        >>> from mtlue import evaluation
        >>> class Height(mtlue.Depth):
        ...     "Height above the ground, whose mean is a good guess."
        >>> @evaluation.best_constant_for.register(Height)
        ... class Mean(evaluation.BestConstant):
        ...     def __init__(self, task):
        ...         self.total, self.count = 0.0, 0
        ...     def update(self, target):
        ...         self.total, self.count = self.total + target.sum(), self.count + target.numel()
        ...     def answer(self):
        ...         return self.total / self.count
        >>> mean = evaluation.best_constant_for(Height())
        >>> mean.update(torch.tensor([1.0, 2.0]))
        >>> mean.update(torch.tensor([6.0]))
        >>> mean.answer()
        tensor(3.)
    """

    @abstractmethod
    def update(self, target: Tensor) -> None:
        """Add a batch of labels, as `mtlue.Task.read_target` returns it."""

    @abstractmethod
    def answer(self) -> Tensor:
        """Return the answer for one image, without a batch axis, in the form that `mtlue.Task.read_output` returns.

        If labels are maps, it is the answer for one pixel, (C,).
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


@singledispatch
def best_constant_for(task: Task) -> BestConstant | None:
    """Return an object that finds the best constant answer to a task, or None if its kind has none registered.

    Use ``best_constant_for.register`` for a kind of task of your own. It takes a class that is made from the task, or a
    function of the task. You do not need it if the headline metric has a ``chance`` that is known without data.

    Args:
        task: The task.

    Example:
        >>> import torch, mtlue
        >>> from mtlue import evaluation
        >>> median = evaluation.best_constant_for(mtlue.Depth())
        >>> median.update(torch.tensor([[[[2.0, 3.0, 7.0, 0.0]]]]))  # 0: no reading
        >>> median.answer()
        tensor([3.])
    """
    return None
