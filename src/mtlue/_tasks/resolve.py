"""Turn tasks, targets and outputs in any of their forms into dictionaries by task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias, TypeGuard

from torch import Tensor

from mtlue._tasks.base import Task
from mtlue._tasks.checked_targets import CheckedTargets
from mtlue._tasks.classification import Classification

Tasks: TypeAlias = Mapping[str, "Task | int"]


def resolve_tasks(tasks: Tasks) -> dict[str, Task]:
    """Check a description of tasks, and replace each integer n by ``Classification(n)``.

    Raises:
        TypeError: ``tasks`` is not a mapping, a name is not a string, or a task is neither a `Task` nor an int.
        ValueError: ``tasks`` is empty, or a number of classes is out of range.
    """
    if not isinstance(tasks, Mapping):
        raise TypeError(f'tasks: expected a dict such as {{"age": 9, "gender": 2}}, got {type(tasks).__name__}')
    if not tasks:
        raise ValueError("tasks: expected at least one task, got an empty dict")
    resolved: dict[str, Task] = {}
    for name, task in tasks.items():
        if not isinstance(name, str):
            raise TypeError(f"tasks: expected names that are strings, got {name!r}")
        if isinstance(task, Task):
            resolved[name] = task
        elif isinstance(task, int) and not isinstance(task, bool):
            try:
                resolved[name] = Classification(task)
            except ValueError as error:
                raise ValueError(f"tasks[{name!r}]: {error}") from None
        else:
            raise TypeError(f"tasks[{name!r}]: expected a mtlue.Task or a number of classes, got {task!r}")
    return resolved


def tasks_to_config(tasks: Mapping[str, Task]) -> list[list[Any]]:
    """Return tasks in a form that JSON can hold: name, kind, arguments."""
    return [[name, task.kind(), task.config()] for name, task in tasks.items()]


def tasks_from_config(config: list[list[Any]]) -> dict[str, Task]:
    """Make tasks from the result of `tasks_to_config`.

    Raises:
        ValueError: a kind of task is not defined in this process.
    """
    tasks: dict[str, Task] = {}
    for name, kind, arguments in config:
        if kind not in Task.kinds:
            raise ValueError(f"task {name!r} is of the kind {kind!r}: import the module that defines it first")
        tasks[name] = Task.kinds[kind](**arguments)
    return tasks


def split_by_task(value: object, tasks: Mapping[str, Task], *, what: str) -> dict[str, object]:
    """Turn targets in any form, of one sample or of a batch, into a dictionary by task.

    The forms are a mapping, a tuple or list in task order, a tensor or NumPy array whose last axis runs over the tasks, and the
    bare value if there is a single task.

    Raises:
        ValueError: a task is missing, or the number of values differs from the number of tasks.
        TypeError: the value has none of these forms.
    """
    names = list(tasks)
    if isinstance(value, Mapping):
        absent = [name for name in names if name not in value]
        if absent:
            raise ValueError(f"{what}: missing {_quoted(absent)}; found {_quoted(list(value))}")
        return {name: value[name] for name in names}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if len(value) != len(names):
            raise ValueError(f"{what}: expected {len(names)} values in the order {_quoted(names)}, got {len(value)}")
        return dict(zip(names, value, strict=True))
    if len(names) == 1:
        return {names[0]: value}
    if isinstance(value, Tensor) or is_array(value):
        if value.ndim == 0 or value.shape[-1] != len(names):
            raise ValueError(
                f"{what}: expected a tensor whose last axis has {len(names)} entries, one for each of {_quoted(names)}, "
                f"got shape {tuple(value.shape)}"
            )
        return {name: value[..., index] for index, name in enumerate(names)}
    raise TypeError(
        f"{what}: expected a dict by task name, a tuple or list in task order, or a tensor with one entry a task "
        f"({_quoted(names)}), got {type(value).__name__}"
    )


def is_array(value: object) -> TypeGuard[Any]:
    """Return whether it is a NumPy array. The name tells, because NumPy may not be installed."""
    return type(value).__name__ == "ndarray"


def read_targets(targets: object, tasks: Mapping[str, Task]) -> CheckedTargets:
    """Read targets in any form, of one sample or of a batch, as checked tensors by task.

    Raises:
        ValueError: a task is missing, or a label is not a valid label of its task.
        TypeError: the targets or a label have a type that cannot be read.
    """
    if isinstance(targets, CheckedTargets):
        return targets
    read = CheckedTargets()
    for name, label in split_by_task(targets, tasks, what="targets").items():
        try:
            read[name] = tasks[name].read_target(label)
        except (TypeError, ValueError) as error:
            raise type(error)(f"task {name!r}: {error}") from None
    return read


def read_single(label: object, task: Task) -> Tensor:
    """Read the label of one sample as a batch of one. An axis of length one that the data set left in it is dropped.

    Raises:
        ValueError: the label is not a valid label of the task, or stands for several samples.
        TypeError: the label has a type that cannot be read.
    """
    batch = task.read_target(task.read_target(label).unsqueeze(0))
    if len(batch) != 1:
        raise ValueError(f"expected the label of one image, got shape {tuple(batch.shape)}")
    return batch


def read_outputs(outputs: object, tasks: Mapping[str, Task], *, what: str = "surrogate output") -> dict[str, Tensor]:
    """Read a model's answer in any form as tensors by task, each in the form that its task expects.

    A bare tensor is the answer to a single task, or holds one binary logit for each task, shape (B, K).

    Raises:
        ValueError: a task is missing, or an answer has the wrong shape.
        TypeError: the answer, or a part of it, does not consist of tensors.
    """
    if isinstance(outputs, Tensor) and len(tasks) > 1 and outputs.ndim != 2:
        raise ValueError(
            f"{what}: expected one tensor (B, {len(tasks)}) of binary logits, or a dict, tuple or list with an "
            f"output for each of {_quoted(list(tasks))}, got a tensor of shape {tuple(outputs.shape)}"
        )
    read = {}
    for name, output in split_by_task(outputs, tasks, what=what).items():
        if not isinstance(output, Tensor):
            raise TypeError(f"{what} of task {name!r}: expected a tensor, got {type(output).__name__}")
        try:
            read[name] = tasks[name].read_output(output)
        except ValueError as error:
            raise ValueError(f"{what} of task {name!r}: {error}") from None
    return read


def _quoted(names: Sequence[object]) -> str:
    return ", ".join(repr(name) for name in names)
