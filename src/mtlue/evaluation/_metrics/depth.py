"""Metrics of depth estimation, and its best constant answer."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mtlue._tasks import Depth
from mtlue.evaluation._metrics.base import TaskMetrics, metrics_for, pixels_with_a_reading
from mtlue.evaluation._metrics.constant import BestConstant, best_constant_for
from mtlue.evaluation._metrics.headline import Headline, headline_for

# Bins of floats by sign, exponent and the first eleven bits of the fraction. A bin is 1/2048 wide, relative to its value.
_DROPPED_BITS, _BINS = 12, 2**20


@headline_for.register
def _(task: Depth) -> Headline:
    # In the labels' own unit, which is unknown here.
    return Headline("absolute_error", "absolute error", perfect=0.0)


@metrics_for.register(Depth)
class DepthMetrics(TaskMetrics):
    """Mean absolute and mean relative error over all pixels that have a reading.

    Args:
        task: The task.
    """

    def __init__(self, task: Depth) -> None:
        self._task = task
        self._absolute, self._relative, self._count = 0.0, 0.0, 0

    def update(self, output: Tensor, target: Tensor) -> None:
        """See `TaskMetrics.update`.

        Raises:
            ValueError: output and target differ in size.
        """
        for answer, truth in pixels_with_a_reading(self._task, output, target):
            error = (answer - truth).abs()
            self._absolute += float(error.sum())
            self._relative += float((error / truth.abs()).sum())
            self._count += len(truth)

    def compute(self) -> dict[str, float]:
        """|p - g| in the labels' unit, and |p - g| / g; NaN where there is no reading."""
        if not self._count:
            return {"absolute_error": math.nan, "relative_error": math.nan}
        return {"absolute_error": self._absolute / self._count, "relative_error": self._relative / self._count}


@best_constant_for.register(Depth)
class MedianReading(BestConstant):
    """The median of all readings. Readings are counted in bins, so it is exact to 1/2048 of its value.

    Args:
        task: The task.
    """

    def __init__(self, task: Depth) -> None:
        self._counts = torch.zeros(_BINS, dtype=torch.long)
        self._sums = torch.zeros(_BINS, dtype=torch.double)

    def update(self, target: Tensor) -> None:
        """See `BestConstant.update`."""
        readings = target[target != 0]
        bins = (readings.view(torch.int32) >> _DROPPED_BITS) + _BINS // 2
        self._counts += bins.bincount(minlength=_BINS)
        self._sums += bins.bincount(weights=readings.double(), minlength=_BINS)

    def answer(self) -> Tensor:
        """Return the depth of a pixel; 0 if there are no readings."""
        filled = self._counts > 0
        if not bool(filled.any()):
            return torch.zeros(1)
        means, order = (self._sums[filled] / self._counts[filled]).sort()
        reached = self._counts[filled][order].cumsum(dim=0)
        return means[torch.searchsorted(reached, (reached[-1:] + 1) // 2)].float()
