"""Rows as tables in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from measure.measuring import CHECK, MULTI, ROUNDED, SINGLE, Row

#: R up to which a task counts as protected.
PROTECTED = 0.3


def table(rows: Sequence[Row]) -> str:
    """R of each recipe on each set, held to [0, 1] in the means: by kind of victim, the worst task, and the control."""
    lines = [
        "| set | recipe | seeds | multi-task | by task | worst | single-task | JPEG 10 | strong augmentation | noise | CPU s |",
        "|---|---|---:|---:|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (name, recipe), group in _groups(rows, "set", "recipe").items():
        multi = _of(group, MULTI)
        tasks = {task: statistics.fmean(row.protected for row in multi if row.task == task) for task in _tasks(multi)}
        cells = [
            name,
            recipe,
            str(len({row.seed for row in group})),
            _mean(multi),
            ", ".join(f"{task} {value:.2f}" for task, value in tasks.items()),
            f"{max(tasks.values()):.2f}" if tasks else "–",
            _mean(_of(group, SINGLE)),
            _mean(_of(group, MULTI, "JPEG 10")),
            _mean(_of(group, MULTI, "strong augmentation")),
            f"{statistics.fmean(row.noise for row in multi):.2f}" if multi else "–",
            f"{statistics.fmean(row.cpu_seconds for row in group):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def rounding_table(rows: Sequence[Row]) -> str:
    """R by the way in which a perturbation was brought to whole levels; empty where that was not measured."""
    rounded = [row for row in rows if row.victim == ROUNDED]
    lines = ["| set | recipe | stored | multi-task | mean change |", "|---|---|---|---:|---:|"]
    for (name, recipe, how), group in _groups(rounded, "set", "recipe", "treatment").items():
        lines.append(f"| {name} | {recipe} | {how} | {_mean(group)} | {group[0].levels:.1f} |")
    return "\n".join(lines) if rounded else ""


def agreement(rows: Sequence[Row]) -> str:
    """How often the cheap check and the full multi-task victim lie on the same side; empty where there was no check."""
    full = {(row.set, row.recipe, row.seed, row.task): row.protected for row in _of(rows, MULTI)}
    pairs = [
        (full[key], row.protected) for row in _of(rows, CHECK) if (key := (row.set, row.recipe, row.seed, row.task)) in full
    ]
    runs: dict[tuple[str, ...], list[tuple[float, float]]] = {}
    for (name, recipe, seed), group in _groups(_of(rows, CHECK), "set", "recipe", "seed").items():
        found = _of([row for row in rows if (row.set, row.recipe, str(row.seed)) == (name, recipe, seed)], MULTI)
        if found:
            runs[name, recipe, seed] = [(_value(found), _value(group))]
    if not pairs:
        return ""
    return (
        f"The check is on the same side of R = {PROTECTED} as the full victim for {_same(pairs)} of {len(pairs)} tasks, "
        f"and for {_same([pair for run in runs.values() for pair in run])} of {len(runs)} means over tasks."
    )


def _same(pairs: Iterable[tuple[float, float]]) -> int:
    return sum((full < PROTECTED) == (check < PROTECTED) for full, check in pairs)


def _groups(rows: Sequence[Row], *by: str) -> dict[tuple[str, ...], list[Row]]:
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(str(getattr(row, name)) for name in by), []).append(row)
    return groups


def _of(rows: Sequence[Row], victim: str, treatment: str = "") -> list[Row]:
    return [row for row in rows if row.victim == victim and row.treatment == treatment]


def _value(rows: Sequence[Row]) -> float:
    return statistics.fmean(min(1.0, max(0.0, row.protected)) for row in rows)


def _mean(rows: Sequence[Row]) -> str:
    return f"{_value(rows):.2f}" if rows else "–"


def _tasks(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.task for row in rows))
