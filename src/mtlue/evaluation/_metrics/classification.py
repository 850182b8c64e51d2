"""Metrics of classification."""

from __future__ import annotations

import math
from typing import Any

from torch import Tensor

from mtlue._runtime import require
from mtlue._tasks import Classification
from mtlue.evaluation._metrics.base import TaskMetrics, metrics_for
from mtlue.evaluation._metrics.headline import Headline, headline_for


@headline_for.register
def _(task: Classification) -> Headline:
    # For any constant answer, one of C classes has a recall of 1 and all others have 0.
    return Headline(
        "balanced_accuracy", "balanced accuracy", unit="%", perfect=1.0, scale=100.0, digits=1, chance=1.0 / task.num_classes
    )


@metrics_for.register(Classification)
class ClassificationMetrics(TaskMetrics):
    """Accuracy, balanced accuracy and, with two classes, the area under the ROC curve.

    Args:
        task: The task.
    """

    def __init__(self, task: Classification) -> None:
        metrics = require("torchmetrics.classification", extra="evaluation")
        # Each rank of a process group measures for itself.
        settings = {"ignore_index": task.ignore_index, "sync_on_compute": False}
        self._confusion: Any = metrics.MulticlassConfusionMatrix(max(task.num_classes, 2), **settings)
        self._ranking: Any = metrics.BinaryAUROC(**settings) if task.num_classes == 2 else None

    def update(self, output: Tensor, target: Tensor) -> None:
        """See `TaskMetrics.update`."""
        scores, labels = output.detach().float().cpu(), target.cpu()
        self._confusion.update(scores.argmax(dim=1), labels)
        if self._ranking is not None:
            self._ranking.update(scores.softmax(dim=1)[:, 1], labels)

    def compute(self) -> dict[str, float]:
        """Return shares in [0, 1]. All are NaN if nothing is labelled; the area also if all labels are of one class."""
        counts = self._confusion.compute().double()
        labels = counts.sum(dim=1)
        seen = labels > 0
        if not bool(seen.any()):
            values = {"accuracy": math.nan, "balanced_accuracy": math.nan}
        else:
            hits = counts.diag()
            values = {
                "accuracy": float(hits.sum() / labels.sum()),
                # Only over the classes that occur: without samples, a class has no recall.
                "balanced_accuracy": float((hits[seen] / labels[seen]).mean()),
            }
        if self._ranking is not None:
            values["auroc"] = float(self._ranking.compute()) if int(seen.sum()) == 2 else math.nan
        return values
