"""Tasks that are equal, so that one operation on many labels does for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from mtlue._tasks.base import Task

# Fewer gain nothing, and one by one their results stay the same to the last bit.
_MANY = 8


class Alike(NamedTuple):
    """Some tasks that are equal.

    Attributes:
        task: What each of them is.
        names: Their names.
    """

    task: Task
    names: tuple[str, ...]

    @property
    def many(self) -> bool:
        """Whether they are computed together."""
        return len(self.names) >= _MANY


def alike_tasks(tasks: Mapping[str, Task]) -> list[Alike]:
    """The tasks divided into those that are computed together, and each of the others alone, in their order."""
    equal: dict[Task, list[str]] = {}
    for name, task in tasks.items():
        if not task.is_map:
            equal.setdefault(task, []).append(name)
    groups = []
    for name, task in tasks.items():
        names = tuple(equal.get(task, ()))
        if len(names) < _MANY:
            groups.append(Alike(task, (name,)))
        elif names[0] == name:
            groups.append(Alike(task, names))
    return groups
