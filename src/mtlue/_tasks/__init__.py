"""Tasks: kinds of labels of an image."""

from mtlue._tasks.base import Task, is_registered
from mtlue._tasks.classification import Classification
from mtlue._tasks.depth import Depth
from mtlue._tasks.infer import LabelSurvey, are_identifiers, named_labels
from mtlue._tasks.maps import RegressionMap
from mtlue._tasks.normals import SurfaceNormals
from mtlue._tasks.resolve import (
    CheckedTargets,
    Tasks,
    read_outputs,
    read_single,
    read_targets,
    resolve_tasks,
    split_by_task,
    tasks_from_config,
    tasks_to_config,
)
from mtlue._tasks.segmentation import Segmentation

__all__ = [
    "CheckedTargets",
    "Classification",
    "Depth",
    "LabelSurvey",
    "RegressionMap",
    "Segmentation",
    "SurfaceNormals",
    "Task",
    "Tasks",
    "are_identifiers",
    "is_registered",
    "named_labels",
    "read_outputs",
    "read_single",
    "read_targets",
    "resolve_tasks",
    "split_by_task",
    "tasks_from_config",
    "tasks_to_config",
]
