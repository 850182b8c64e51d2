"""Each call that writes files: killed, on disks that fail or are full, and made twice at once."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any

RANDOM_KILLS, PAIRS, DISKS = 40, 40, 10


def verbs() -> dict[str, Any]:
    """The rows of the table of calls, by name."""
    return {verb.name: verb for verb in importlib.import_module("writing_verbs").VERBS}


def tried(verb: Any) -> dict[str, Any]:
    """Break a call off in every way; count the trials of each, and tell of all that went wrong."""
    runs: Any = importlib.import_module("fault_runs")
    whole = runs.undisturbed(verb)
    # The first call warms up.
    whole = runs.undisturbed(verb)
    found: dict[str, Any] = {"operations": len(whole.operations)}
    faults = []
    for name, (trial, places) in _trials(runs, whole).items():
        found[name] = len(places)
        for place in places:
            where = whole.operations[place] if name in {"killed", "failed"} else f"at {place:.4g}"
            faults += [f"{name}, {where}: {fault}" for fault in trial(verb, whole, place)]
    return {**found, "faults": faults}


def verbs_on_ranks() -> dict[str, Any]:
    """The rows of the table of calls that several ranks make together, by name."""
    return {each.verb.name: each for each in importlib.import_module("rank_verbs").VERBS}


def tried_on_ranks(each: Any) -> dict[str, Any]:
    """Break a call of two ranks off in every way; count the trials of each, and tell of all that went wrong."""
    runs: Any = importlib.import_module("rank_faults")
    whole = runs.undisturbed(each)
    # The first call warms up.
    whole = runs.undisturbed(each)
    found: dict[str, Any] = {"operations": sum(whole.operations)}
    faults = []
    for name, (trial, places) in _trials_on_ranks(runs, whole).items():
        found[name] = 0
        for place in places:
            wrong = trial(each, whole, *place)
            # A rank that waits less often for the other one does not come to all operations.
            found[name] += wrong is not None
            faults += [f"{name}, {place}: {fault}" for fault in wrong or ()]
    return {**found, "faults": faults}


def _trials_on_ranks(runs: Any, whole: Any) -> dict[str, tuple[Callable[..., list[str] | None], Sequence[tuple[Any, ...]]]]:
    """What is done to the ranks, and where: at which operation of which rank, or to which ranks after how many seconds."""
    operations = [(rank, at) for rank, count in enumerate(whole.operations) for at in range(count)]
    end = 1.1 * whole.seconds
    # One of them, the other, or both.
    chosen = [range(1), range(1, 2), range(2)]
    moments = [(chosen[index % 3], seconds) for index, seconds in enumerate(_spread(RANDOM_KILLS, end))]
    return {
        "killed": (runs.after_kill, operations),
        "failed": (runs.after_error, operations),
        "killed at random": (runs.after_random_kill, moments),
        "two at once": (runs.after_two_calls, [(seconds,) for seconds in _spread(PAIRS, end)]),
        "full disk": (runs.after_full_disk, [(int(room),) for room in _spread(DISKS, whole.written)]),
    }


def _trials(runs: Any, whole: Any) -> dict[str, tuple[Callable[[Any, Any, Any], list[str]], Sequence[float]]]:
    """What is done to a call, and where: at which operation, after how many seconds, or with room for how many bytes."""
    operations, end = range(len(whole.operations)), 1.1 * whole.seconds
    return {
        "killed": (runs.after_kill, operations),
        "failed": (runs.after_error, operations),
        "killed at random": (runs.after_random_kill, _spread(RANDOM_KILLS, end)),
        "two at once": (runs.after_two_calls, _spread(PAIRS, end)),
        "full disk": (runs.after_full_disk, [int(room) for room in _spread(DISKS, whole.written)]),
    }


def _spread(count: int, end: float) -> list[float]:
    return [(index + 0.5) / count * end for index in range(count)]
