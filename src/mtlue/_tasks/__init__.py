"""Tasks: kinds of labels of an image."""

from mtlue._tasks.alike import Alike, alike_tasks
from mtlue._tasks.base import Task, is_registered
from mtlue._tasks.checked_targets import CheckedTargets
from mtlue._tasks.classification import Classification
from mtlue._tasks.columns import label_columns, read_columns
from mtlue._tasks.depth import Depth
from mtlue._tasks.infer import LabelSurvey, are_identifiers, named_labels
from mtlue._tasks.maps import RegressionMap
from mtlue._tasks.normals import SurfaceNormals
from mtlue._tasks.resolve import (
    Tasks,
    is_array,
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
    "Alike",
    "CheckedTargets",
    "Classification",
    "Depth",
    "LabelSurvey",
    "RegressionMap",
    "Segmentation",
    "SurfaceNormals",
    "Task",
    "Tasks",
    "alike_tasks",
    "are_identifiers",
    "is_array",
    "is_registered",
    "label_columns",
    "named_labels",
    "read_columns",
    "read_outputs",
    "read_single",
    "read_targets",
    "resolve_tasks",
    "split_by_task",
    "tasks_from_config",
    "tasks_to_config",
]
