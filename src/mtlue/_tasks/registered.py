"""Functions of a task that each kind of task, also a user's, can have its own implementation of."""

from __future__ import annotations

from typing import Any

from mtlue._tasks.base import Task


def is_registered(function: Any, task: Task) -> bool:
    """Whether a ``functools.singledispatch`` function has an implementation for a task's kind or one that it derives from."""
    return function.dispatch(type(task)) is not function.dispatch(object)
