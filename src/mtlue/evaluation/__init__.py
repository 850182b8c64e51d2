"""Measure what can be learned from a protected set: victims, metrics, weightings, audits and comparisons.

Needs the extra ``evaluation``: ``pip install "mtlue[evaluation]"``.
"""

from mtlue._data import random_crop, random_crop_and_flip
from mtlue._fit import one_cycle, paper_schedule
from mtlue._models import build_model
from mtlue.evaluation._audit import audit
from mtlue.evaluation._compare import compare
from mtlue.evaluation._comparison import Comparison
from mtlue.evaluation._evaluate import evaluate
from mtlue.evaluation._examples import Example, image_quality
from mtlue.evaluation._measurement import Measurement
from mtlue.evaluation._metrics import (
    BestConstant,
    Headline,
    TaskMetrics,
    best_constant_for,
    headline_for,
    metrics_for,
    residual_learnability,
)
from mtlue.evaluation._report import Report
from mtlue.evaluation._rows import Row
from mtlue.evaluation._select_tasks import SelectedTasks
from mtlue.evaluation._verdict import Verdict
from mtlue.evaluation._victim import dense_paper_schedule, train_victim
from mtlue.evaluation._weighting import RLW, UW, AlignedMTL, FairGrad, Uniform, Weighting

__all__ = [
    "RLW",
    "UW",
    "AlignedMTL",
    "BestConstant",
    "Comparison",
    "Example",
    "FairGrad",
    "Headline",
    "Measurement",
    "Report",
    "Row",
    "SelectedTasks",
    "TaskMetrics",
    "Uniform",
    "Verdict",
    "Weighting",
    "audit",
    "best_constant_for",
    "build_model",
    "compare",
    "dense_paper_schedule",
    "evaluate",
    "headline_for",
    "image_quality",
    "metrics_for",
    "one_cycle",
    "paper_schedule",
    "random_crop",
    "random_crop_and_flip",
    "residual_learnability",
    "train_victim",
]
