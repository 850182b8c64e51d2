"""The arguments of an audit, before anything is trained."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from torch.utils.data import Dataset

from mtlue._checks import check_count, check_task_names
from mtlue._data import Inspection, inspect_dataset
from mtlue._tasks import Task, Tasks, resolve_tasks
from mtlue.defenses import Defense


def check_seeds(seeds: Sequence[int]) -> None:
    """Check the seeds of an audit.

    Raises:
        TypeError: one is no integer.
        ValueError: there is none, one is negative, or one is there twice.
    """
    if not seeds:
        raise ValueError("seeds: expected at least one, got none")
    for seed in seeds:
        check_count("seeds", seed, minimum=0)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds: expected each once, got {list(seeds)}")


def names_of(defenses: Sequence[Defense]) -> list[str]:
    """What tables call the defences: by name, and those of one name by the calls that make them.

    Raises:
        ValueError: two cannot be told apart.
    """
    short = [each.name for each in defenses]
    names = [repr(each) if short.count(name) > 1 else name for each, name in zip(defenses, short, strict=True)]
    if len(set(names)) < len(names):
        raise ValueError(
            f"defenses: expected each once and with a name of its own, got {names}; functions need different names"
        )
    return names


def inspect_set(argument: str, dataset: Dataset[Any], tasks: dict[str, Task], num_workers: int) -> Inspection:
    """Read every sample of a set, and say of which set what is wrong.

    Raises:
        ValueError: it is empty, or has samples that cannot be used.
    """
    try:
        return inspect_dataset(dataset, tasks, num_workers=num_workers)
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from None


def tasks_of(protected: Dataset[Any], tasks: Tasks | None) -> dict[str, Task]:
    """The tasks that are given, else those of the protected set.

    Raises:
        ValueError: it has none.
    """
    found = getattr(protected, "tasks", None) if tasks is None else tasks
    if found is None:
        raise ValueError(
            "tasks: the protected set has no attribute of that name, give the tasks by name; what mtlue.protect or a baseline "
            "returned has it, and the order is protected, clean, test"
        )
    return resolve_tasks(found)


def tasks_alone(single_task: Collection[str] | None, tasks: dict[str, Task]) -> list[str]:
    """Names of the tasks that have single-task victims.

    Raises:
        TypeError: it is no collection of names.
        ValueError: a name is no task's.
    """
    if single_task is not None and (isinstance(single_task, str) or not isinstance(single_task, Collection)):
        got = repr(single_task) if isinstance(single_task, str) else type(single_task).__name__
        raise TypeError(f"single_task: expected names of tasks ([] for none), got {got}")
    names = check_task_names("single_task", single_task, tasks) if single_task is None or len(single_task) else []
    return names if len(tasks) > 1 else []
