"""Metrics of each kind of task, the share of a task that was learned, and what a constant answer reaches."""

from mtlue.evaluation._metrics import classification, depth, normals, segmentation  # they register themselves
from mtlue.evaluation._metrics.base import TaskMetrics, metrics_for
from mtlue.evaluation._metrics.constant import BestConstant, best_constant_for
from mtlue.evaluation._metrics.headline import (
    Headline,
    headline_for,
    headlines_of,
    known_chance,
    residual_learnability,
    residuals_of,
    unregistered,
    value_of,
)

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
    "residuals_of",
    "segmentation",
    "unregistered",
    "value_of",
]
