"""Which metrics a kind of task has."""

from __future__ import annotations

from mtlue._tasks import Classification, Depth, Segmentation, SurfaceNormals, Task
from mtlue.evaluation._metrics.base import TaskMetrics
from mtlue.evaluation._metrics.classification import ClassificationMetrics
from mtlue.evaluation._metrics.depth import DepthMetrics
from mtlue.evaluation._metrics.loss import LossMetric
from mtlue.evaluation._metrics.normals import NormalMetrics
from mtlue.evaluation._metrics.segmentation import SegmentationMetrics


def metrics_for(task: Task) -> TaskMetrics:
    """Fresh metrics of a task."""
    if isinstance(task, Classification):
        return ClassificationMetrics(task)
    if isinstance(task, Segmentation):
        return SegmentationMetrics(task)
    if isinstance(task, Depth):
        return DepthMetrics(task)
    return NormalMetrics(task) if isinstance(task, SurfaceNormals) else LossMetric(task)
