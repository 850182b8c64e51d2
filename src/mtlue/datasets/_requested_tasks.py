"""Which columns of a table are tasks."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mtlue._tasks import Task, Tasks, resolve_tasks


def requested_tasks(tasks: Tasks | Collection[str] | None) -> dict[str, Task | None] | None:
    """The tasks by name, None for one that is to be read off its column; None if the caller leaves the choice.

    Raises:
        TypeError: ``tasks`` is neither a mapping nor a list of names.
        ValueError: it is empty, or a number of classes is out of range.
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
