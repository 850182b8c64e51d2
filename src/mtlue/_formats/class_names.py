"""Names of classes, for readers of an exported set."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from mtlue._data import collected
from mtlue._tasks import Task

#: The name of the file beside a table of labels.
CLASSES = "classes.json"


def class_names(dataset: Dataset[Any], tasks: Mapping[str, Task]) -> dict[str, list[str]]:
    """Return the names of the classes of each task, in order, as far as a data set gives them.

    They come from its attribute ``classes``: a dict by task, as `mtlue.datasets.ImageTable` has, or, for a single task, a list,
    as torchvision's sets have. A wrapper without them, such as a subset, has those of the set that it wraps. Anything that does
    not fit the tasks is ignored, because it may have another meaning.
    """

    def read(each: object) -> dict[str, list[str]]:
        told = getattr(each, "classes", None)
        if not isinstance(told, Mapping):
            told = dict.fromkeys(tasks, told) if len(tasks) == 1 else {}
        lists = _lists_of_names(told)
        return {name: lists[name] for name, task in tasks.items() if name in lists and len(lists[name]) == task.num_embeddings}

    return collected(dataset, read)


def write_class_names(names: Mapping[str, list[str]], folder: Path) -> None:
    """Write the names beside a table of labels, if there are any."""
    if names:
        (folder / CLASSES).write_text(json.dumps(names, ensure_ascii=False, indent=2), encoding="utf-8")


def read_class_names(folder: Path) -> dict[str, list[str]]:
    """Read the names of classes by column beside a table of labels.

    Anything that is not a list of names is ignored, because the file may serve another purpose.
    """
    try:
        found = json.loads((folder / CLASSES).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return _lists_of_names(found)


def _lists_of_names(entries: object) -> dict[str, list[str]]:
    """Return the entries that are lists of different strings."""
    if not isinstance(entries, Mapping):
        return {}
    lists = {key: list(names) for key, names in entries.items() if isinstance(names, list | tuple)}
    return {
        key: names
        for key, names in lists.items()
        if all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    }
