"""Metrics of segmentation, and its best constant answer."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue._runtime import require
from mtlue._tasks import Segmentation
from mtlue.evaluation._metrics.base import TaskMetrics, metrics_for
from mtlue.evaluation._metrics.constant import BestConstant, best_constant_for
from mtlue.evaluation._metrics.headline import Headline, headline_for


@headline_for.register
def _(task: Segmentation) -> Headline:
    return Headline("miou", "mIoU", unit="%", perfect=1.0, scale=100.0, digits=1)


@metrics_for.register(Segmentation)
class SegmentationMetrics(TaskMetrics):
    """Mean intersection over union and pixel accuracy, from one confusion matrix of all labelled pixels.

    Args:
        task: The task.
    """

    def __init__(self, task: Segmentation) -> None:
        metrics = require("torchmetrics.classification", extra="evaluation")
        # Labels are checked where they are read. Another check would sort the pixels of every batch.
        self._confusion: Any = metrics.MulticlassConfusionMatrix(
            max(task.num_classes, 2), ignore_index=task.ignore_index, validate_args=False, sync_on_compute=False
        )

    def update(self, output: Tensor, target: Tensor) -> None:
        """See `TaskMetrics.update`.

        Raises:
            ValueError: output and target differ in size.
        """
        if output.shape[2:] != target.shape[1:]:
            raise ValueError(f"expected logits for {tuple(target.shape[1:])} pixels, got {tuple(output.shape[2:])}")
        if len(output) != len(target):
            raise ValueError(f"expected logits for {len(target)} samples, got {len(output)}")
        self._confusion.update(output.detach().argmax(dim=1).cpu(), target.cpu())

    def compute(self) -> dict[str, float]:
        """Return shares in [0, 1]; NaN if no pixel is labelled."""
        counts = self._confusion.compute().double()
        hits, union = counts.diag(), counts.sum(dim=0) + counts.sum(dim=1) - counts.diag()
        # Only over the classes that occur in labels or in answers: any other class has no union.
        occurs = union > 0
        if not bool(occurs.any()):
            return {"miou": math.nan, "pixel_accuracy": math.nan}
        return {"miou": float((hits[occurs] / union[occurs]).mean()), "pixel_accuracy": float(hits.sum() / counts.sum())}


@best_constant_for.register(Segmentation)
class CommonestClass(BestConstant):
    """The class of most pixels.

    Args:
        task: The task.
    """

    def __init__(self, task: Segmentation) -> None:
        self._ignored = task.ignore_index
        self._counts = torch.zeros(task.num_classes, dtype=torch.long)

    def update(self, target: Tensor) -> None:
        """See `BestConstant.update`."""
        self._counts += target[target != self._ignored].bincount(minlength=len(self._counts))

    def answer(self) -> Tensor:
        """Return the logits of a pixel."""
        return F.one_hot(self._counts.argmax(), len(self._counts)).float()
