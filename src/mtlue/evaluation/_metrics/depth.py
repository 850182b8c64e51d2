"""Metrics of depth estimation."""

from __future__ import annotations

import math

from torch import Tensor

from mtlue._tasks import Depth
from mtlue.evaluation._metrics.base import TaskMetrics, pixels_with_a_reading


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
            ValueError: the output's size is not the target's.
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
