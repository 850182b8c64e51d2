"""Decide which columns of a table are tasks, and read a column as classes."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mtlue._tasks import Classification, Task, Tasks, are_identifiers, resolve_tasks
from mtlue.datasets._files import shortened

# Spreadsheets and pandas write a column of integers with an empty cell as 1.0, 2.0.
# A number with more digits is not a class, and does not fit into a tensor.
_INTEGER = re.compile(r"[+-]?\d{1,18}(\.0*)?", re.ASCII)
_OTHERWISE = "If the column does not hold labels, name the columns that do with tasks=[...]"


@dataclass(frozen=True)
class ClassColumn:
    """The contents of a column.

    Attributes:
        task: The task.
        labels: Integers of shape (N,), with the task's ignore index for a missing label.
        names: Names of the classes, in order. None if the column has integers without names.
    """

    task: Task
    labels: Tensor
    names: list[str] | None


def requested_tasks(tasks: Tasks | Collection[str] | None) -> dict[str, Task | None] | None:
    """Return the tasks by name, with None for a task to infer from its column. Return None if the caller leaves the choice.

    Raises:
        TypeError: ``tasks`` is neither a mapping nor a list of names.
        ValueError: ``tasks`` is empty, or a number of classes is out of range.
    """
    if tasks is None:
        return None
    if isinstance(tasks, Mapping):
        return dict(resolve_tasks(tasks))
    if isinstance(tasks, str) or not isinstance(tasks, Collection) or not all(isinstance(name, str) for name in tasks):
        raise TypeError(f'tasks: expected a dict such as {{"age": 9}}, a list of column names or None, got {tasks!r}')
    if not tasks:
        raise ValueError("tasks: expected at least one column name, got none")
    return dict.fromkeys(tasks)


def check_class_names(classes: Mapping[str, Sequence[str]] | None) -> dict[str, list[str]]:
    """Return the names of classes by column. None gives an empty dict.

    Raises:
        TypeError: the names are not a dict of lists of strings by column.
        ValueError: a name occurs twice.
    """
    if classes is None:
        return {}
    if not isinstance(classes, Mapping):
        raise TypeError(f'classes: expected a dict such as {{"pet": ["cat", "dog"]}} or None, got {type(classes).__name__}')
    for column, names in classes.items():
        if isinstance(names, str) or not isinstance(names, Sequence) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"classes[{column!r}]: expected a list of strings, got {names!r}")
        if len(set(names)) < len(names):
            raise ValueError(f"classes[{column!r}]: a name occurs twice in {list(names)}")
    return {column: list(names) for column, names in classes.items()}


def read_numbers(cells: Collection[str], count: int) -> dict[str, int] | None:
    """Read cells that are all class numbers, with -1 for a missing label. Return None if they are not."""
    numbers = {cell: _number(cell) for cell in cells if _INTEGER.fullmatch(cell)}
    return numbers if len(numbers) == len(cells) and all(-1 <= number < count for number in numbers.values()) else None


def fitting_names(
    told: Mapping[str, list[str]], columns: Mapping[str, Sequence[str]], tasks: Mapping[str, Task | None]
) -> dict[str, list[str]]:
    """Return the names of those tasks whose cells are class numbers and whose number of classes fits."""
    return {
        name: told[name]
        for name, task in tasks.items()
        if name in told
        and (task is None or task.num_embeddings == len(told[name]))
        and read_numbers(set(columns.get(name, ())) - {""}, len(told[name])) is not None
    }


def read_classes(
    cells: Sequence[str],
    *,
    task: Task | None,
    names: Sequence[str] | None,
    where: Callable[[int], str],
    numbered: bool = False,
) -> ClassColumn:
    """Read the cells of a column. Integers are classes unchanged, texts become classes in sorted order.

    Args:
        cells: One cell for each sample. An empty cell is a missing label.
        task: The task. None infers it from the cells.
        names: Names of the classes in order. None infers them from the cells.
        where: Describes the place of a sample's cell.
        numbered: Whether the cells are class numbers, even if some could also be names.

    Raises:
        ValueError: a cell is not a label.
    """
    distinct = set(cells) - {""}
    if not distinct and task is None:
        raise ValueError(f"{where(0)}: every label is missing")
    code = _code(cells, distinct, where) if names is None else _code_of(names, distinct, numbered=numbered)
    unknown = distinct - set(code)
    if unknown:
        position = next(index for index, cell in enumerate(cells) if cell in unknown)
        raise ValueError(
            f"{where(position)}: {cells[position]!r} is not one of the classes {shortened([repr(name) for name in code])}"
        )
    is_text = bool(distinct) and not any(_INTEGER.fullmatch(cell) for cell in distinct)
    named = list(code if names is None else names) if is_text or names is not None else None
    if task is None:
        _check_not_negative(cells, code, where)
        if names is None:
            _check_repeats(cells, code, where)
        task = Classification(max(max(code.values()) + 1 if named is None else len(named), 2))
    missing = getattr(task, "ignore_index", -1)
    numbers = [code.get(cell, -1) for cell in cells]
    labels = torch.tensor([missing if number == -1 else number for number in numbers])
    _check_labels(labels, cells, task, where)
    small = labels.to(torch.int32)
    # An ignore index may be larger.
    return ClassColumn(task, small if torch.equal(small, labels) else labels, named)


def _code_of(names: Sequence[str], distinct: set[str], *, numbered: bool) -> dict[str, int]:
    """Return the class of each name, or of each distinct cell if the cells are numbers."""
    code = {name: index for index, name in enumerate(names)}
    # Names that consist of digits are names, unless an export says that its cells are numbers.
    if not numbered and any(_INTEGER.fullmatch(name) for name in names):
        return code
    numbers = read_numbers(distinct, len(names))
    return code if numbers is None else numbers


def _code(cells: Sequence[str], distinct: set[str], where: Callable[[int], str]) -> dict[str, int]:
    integers = {cell for cell in distinct if _INTEGER.fullmatch(cell)}
    if integers == distinct:
        return {cell: _number(cell) for cell in distinct}
    numbers = {cell for cell in distinct if is_number(cell)}
    if not numbers:
        return {cell: index for index, cell in enumerate(sorted(distinct))}
    # Among numbers and texts, the rarer kind is the one that does not belong.
    odd = distinct - integers if numbers == distinct or len(integers) * 2 >= len(distinct) else integers or numbers
    position = next(index for index, cell in enumerate(cells) if cell in odd)
    among = shortened(sorted(map(repr, distinct - odd)))
    raise ValueError(
        f"{where(position)}: {cells[position]!r}{' among ' + among if among else ''}; expected integers alone, or names of "
        f"classes alone; leave a cell empty if its label is missing. {_OTHERWISE}"
    )


def _check_repeats(cells: Sequence[str], code: Mapping[str, int], where: Callable[[int], str]) -> None:
    filled = sum(bool(cell) for cell in cells)
    if are_identifiers(len(code), filled, max(code.values())):
        raise ValueError(
            f"{where(0)}: {len(code)} different values in {filled} cells look like identifiers, not classes. {_OTHERWISE}"
        )


def _number(cell: str) -> int:
    return int(cell.partition(".")[0])


def is_number(cell: str) -> bool:
    """Return whether a cell is a number, with or without a fraction."""
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _check_not_negative(cells: Sequence[str], code: dict[str, int], where: Callable[[int], str]) -> None:
    for position, cell in enumerate(cells):
        if cell and code[cell] < -1:
            raise ValueError(
                f"{where(position)}: label {cell} is out of range: expected an integer from 0, or -1 or an empty cell for a "
                "missing label"
            )


def _check_labels(labels: Tensor, cells: Sequence[str], task: Task, where: Callable[[int], str]) -> None:
    # All at once. The place is searched only if that fails.
    try:
        task.read_target(labels)
    except ValueError:
        for position, label in enumerate(labels):
            try:
                task.read_target(label)
            except ValueError as error:
                raise ValueError(f"{where(position)}: {cells[position]!r}: {error}") from None
        raise
