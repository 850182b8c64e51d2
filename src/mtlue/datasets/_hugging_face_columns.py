"""Decide which columns of a Hugging Face data set are tasks, and read a column as classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from mtlue._tasks import Classification, Task, are_identifiers
from mtlue.datasets._class_column import ClassColumn, read_classes

# Types of columns that may hold classes.
_LABELS = ("bool", "string", "large_string", "int", "uint")
_INTEGERS = ("int", "uint")


def choose_columns(library: Any, dataset: Any, image: str) -> tuple[list[str], dict[str, str]]:
    """Choose the columns that are tasks when the caller names none. Returns the others with the reason.

    Columns whose type says class are tasks. If there are none, columns of integers are, although these are often identifiers.

    Raises:
        ValueError: no column can be a task.
    """
    features = {name: feature for name, feature in dataset.features.items() if name != image}
    kinds = {name: _kind(library, feature) for name, feature in features.items()}
    wanted = "classes" if "classes" in kinds.values() else "integers"
    found, left_out = [], {}
    for name, kind in kinds.items():
        reason = _why_left_out(dataset, name) if kind == wanted else f"{kind}, and not named in tasks=[...]"
        if reason:
            left_out[name] = reason
        else:
            found.append(name)
    if not found:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in left_out.items()) or "there is no other column"
        raise ValueError(f"tasks: no column holds classes by its type ({reasons}); name the columns to use with tasks=[...]")
    return found, left_out


def read_column(library: Any, dataset: Any, name: str, task: Task | None) -> ClassColumn:
    """Read a column as the classes of a task. None infers the task from the column.

    Raises:
        ValueError: the column does not hold classes.
    """
    feature = dataset.features[name]
    is_class = isinstance(feature, library.ClassLabel)
    if not is_class and not (isinstance(feature, library.Value) and feature.dtype.startswith(_LABELS)):
        raise ValueError(f"tasks: column {name!r} is {feature}, which does not hold a class; expected one column for each task")
    cells = _cells(dataset, name)
    if task is None and is_class:
        reason = _why_left_out(dataset, name)
        if reason == _IDENTIFIERS:
            count = feature.num_classes
            raise ValueError(
                f"tasks: column {name!r} has {reason}, like an identifier; "
                f"leave it out, or give tasks={{{name!r}: {count}}} if it holds classes"
            )
        task = Classification(max(feature.num_classes, 2))
    column = read_classes(cells, task=task, names=None, where=partial(place, column=name))
    return replace(column, names=list(feature.names)) if is_class else column


def place(row: int, column: str) -> str:
    """Describe the place of a cell."""
    return f"row {row}, column {column!r}"


_IDENTIFIERS = "a different value in every row"


def _kind(library: Any, feature: Any) -> str:
    """Return what the type of a column says about it."""
    if isinstance(feature, library.ClassLabel):
        return "classes"
    if isinstance(feature, library.Image):
        return "other images"
    if not isinstance(feature, library.Value):
        return "no single value in a row"
    if feature.dtype == "bool":
        return "classes"
    if feature.dtype.startswith(_INTEGERS):
        return "integers"
    return "text" if feature.dtype.startswith(_LABELS) else "numbers or dates"


def _why_left_out(dataset: Any, name: str) -> str:
    """Return the reason why a column of classes can hardly be a task. Empty if it can."""
    filled = [cell for cell in _cells(dataset, name) if cell not in {"", "-1"}]
    distinct = set(filled)
    if not filled:
        return "no labels"
    if are_identifiers(len(distinct), len(filled), largest=0):
        return _IDENTIFIERS
    return f"one class, {filled[0]!r}" if len(distinct) == 1 and len(filled) > 1 else ""


def _cells(dataset: Any, name: str) -> Sequence[str]:
    return [_cell(value) for value in dataset.select_columns([name])[:][name]]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value).strip()
