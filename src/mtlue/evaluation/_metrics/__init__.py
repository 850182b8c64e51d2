"""What is measured for each kind of task, how much of it was learned, and what a constant answer reaches."""

from mtlue.evaluation._metrics import classification, depth, normals, segmentation  # they register themselves
from mtlue.evaluation._metrics.base import TaskMetrics
from mtlue.evaluation._metrics.constant import BestConstant, best_constant_for
from mtlue.evaluation._metrics.headline import (
    Headline,
    headline_for,
    headlines_of,
    known_chance,
    residual_learnability,
    value_of,
)
from mtlue.evaluation._metrics.kinds import metrics_for
from mtlue.evaluation._metrics.unregistered import unregistered

__all__ = [
    "BestConstant",
    "Headline",
    "TaskMetrics",
    "best_constant_for",
    "classification",
    "depth",
    "headline_for",
    "headlines_of",
    "known_chance",
    "metrics_for",
    "normals",
    "residual_learnability",
    "segmentation",
    "unregistered",
    "value_of",
]
