"""What is not registered for a kind of task, so that a report has to say so."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mtlue._tasks import Task, is_registered
from mtlue.evaluation._metrics.constant import best_constant_for
from mtlue.evaluation._metrics.headline import headline_for


def unregistered(tasks: Mapping[str, Task], *, known: Collection[str] = ()) -> list[str]:
    """A sentence for each kind of task of which a report cannot say all, with the registration that is missing.

    Args:
        tasks: The tasks.
        known: Names of those whose chance is known.
    """
    found: dict[str, list[str]] = {}
    for name, task in tasks.items():
        kind, counted = type(task).__name__, headline_for(task)
        if counted is None:
            lack = (
                f"no headline metric is registered for {kind}, so there is no row for it; "
                "register one with evaluation.headline_for.register"
            )
        elif counted.chance is None and name not in known and not is_registered(best_constant_for, task):
            lack = (
                f"no best constant answer is registered for {kind}, so chance and R are not known; "
                "register one with evaluation.best_constant_for.register"
            )
        else:
            continue
        found.setdefault(lack, []).append(repr(name))
    return [f"task{'s' if len(names) > 1 else ''} {', '.join(names)}: {lack}" for lack, names in found.items()]
