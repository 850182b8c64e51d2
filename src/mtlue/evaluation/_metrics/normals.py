"""Metrics of surface normal estimation, and its best constant answer."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue._tasks import SurfaceNormals
from mtlue.evaluation._metrics.base import TaskMetrics, metrics_for, pixels_with_a_reading
from mtlue.evaluation._metrics.constant import BestConstant, best_constant_for
from mtlue.evaluation._metrics.headline import Headline, headline_for

_STEPS = 1000


@headline_for.register
def _(task: SurfaceNormals) -> Headline:
    return Headline("mean_angle", "mean angle", unit="°", perfect=0.0, digits=2)


@metrics_for.register(SurfaceNormals)
class NormalMetrics(TaskMetrics):
    """Mean and median angle between answer and label over all pixels that have a reading.

    The median is that of angles rounded to thousandths of a degree. They are counted instead of kept.

    Args:
        task: The task.
    """

    def __init__(self, task: SurfaceNormals) -> None:
        self._task = task
        self._total, self._count = 0.0, 0
        self._counts = torch.zeros(180 * _STEPS + 1, dtype=torch.long)

    def update(self, output: Tensor, target: Tensor) -> None:
        """See `TaskMetrics.update`.

        Raises:
            ValueError: output and target differ in size.
        """
        for answer, truth in pixels_with_a_reading(self._task, output, target):
            cosine = (F.normalize(answer, dim=1) * F.normalize(truth, dim=1)).sum(dim=1)
            angles = torch.rad2deg(cosine.clamp(-1.0, 1.0).acos())
            self._total += float(angles.sum())
            self._count += len(angles)
            steps = (angles.nan_to_num(180.0) * _STEPS).round().long()
            self._counts += steps.bincount(minlength=len(self._counts))

    def compute(self) -> dict[str, float]:
        """Return degrees in [0, 180]. An answer of length 0 counts as 90. NaN if there are no readings, or an answer is NaN."""
        if not self._count or math.isnan(self._total):
            return {"mean_angle": math.nan, "median_angle": math.nan}
        # The middle angle of an odd number, the mean of the two middle ones of an even number.
        middle = torch.tensor([(self._count - 1) // 2, self._count // 2])
        median = torch.searchsorted(self._counts.cumsum(dim=0), middle, right=True).double().mean() / _STEPS
        return {"mean_angle": self._total / self._count, "median_angle": float(median)}


@best_constant_for.register(SurfaceNormals)
class MeanDirection(BestConstant):
    """The mean of all directions. It is the best constant by the cosine, which is the loss, and close to the best by the angle.

    Args:
        task: The task.
    """

    def __init__(self, task: SurfaceNormals) -> None:
        self._total = torch.zeros(3, dtype=torch.double)

    def update(self, target: Tensor) -> None:
        """See `BestConstant.update`."""
        self._total += F.normalize(target.double(), dim=1).sum(dim=(0, 2, 3))

    def answer(self) -> Tensor:
        """Return the normal of a pixel."""
        return F.normalize(self._total, dim=0).float()
