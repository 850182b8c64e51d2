"""Names of classes, for those who read an exported set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

from torch.utils.data import Dataset

from mtlue._tasks import Task

#: File of an export with the names.
CLASSES = "classes.json"


def class_names(dataset: Dataset[Any], tasks: Mapping[str, Task]) -> dict[str, list[str]]:
    """Names of the classes of each task, in their order, as far as a data set tells them.

    They are read from its attribute ``classes``: a dict by task, as `mtlue.datasets.ImageTable` has it, or, where there is one
    task, a list, as torchvision's sets have. What does not fit the tasks is left out: it may mean something else.
    """
    told = getattr(dataset, "classes", None)
    if not isinstance(told, Mapping):
        told = dict.fromkeys(tasks, told) if len(tasks) == 1 else {}
    found = {}
    for name, task in tasks.items():
        names = told.get(name)
        if not task.is_map and are_names(names) and len(names) == task.num_embeddings:
            found[name] = list(names)
    return found


def are_names(names: object) -> TypeGuard[Sequence[str]]:
    """Whether it is a list of different strings."""
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return False
    return len(set(names)) == len(names)
