"""Names of classes that an exported set has beside its table of labels."""

from __future__ import annotations

import json
from collections.abc import Mapping

from mtlue._protect.class_names import CLASSES, are_names
from mtlue._tasks import Task
from mtlue.datasets._class_column import read_numbers
from mtlue.datasets._label_table import LabelTable


def read_names(table: LabelTable, tasks: Mapping[str, Task | None]) -> dict[str, list[str]]:
    """Names of the classes, in order, of columns that hold their numbers; none if there is no such file.

    What does not fit a column or its task is left out: the file may be there for another purpose.
    """
    try:
        found = json.loads(table.path.with_name(CLASSES).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    names = {name: found[name] for name in tasks if name in found} if isinstance(found, dict) else {}
    return {
        name: list(each)
        for name, each in names.items()
        if are_names(each) and _fits(len(each), table.columns.get(name, []), tasks[name])
    }


def _fits(count: int, cells: list[str], task: Task | None) -> bool:
    return read_numbers(set(cells) - {""}, count) is not None and (task is None or task.num_embeddings == count)
