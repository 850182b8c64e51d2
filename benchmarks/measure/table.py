"""Rows as a table in Markdown."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from measure.measuring import Row


def table(rows: Sequence[Row]) -> str:
    """R of each set, recipe, victim and treatment: the mean over tasks and seeds, the worst task, and the control."""
    lines = [
        "| set | recipe | victim | treatment | R | R in [0, 1] | by task | worst | noise | seeds | CPU s |",
        "|---|---|---|---|---:|---:|---|---:|---:|---:|---:|",
    ]
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.set, row.recipe, row.victim, row.treatment), []).append(row)
    for (name, recipe, victim, treatment), group in groups.items():
        tasks = {task: statistics.fmean(row.protected for row in group if row.task == task) for task in _tasks(group)}
        cells = [
            name,
            recipe,
            victim,
            treatment or "–",
            f"{statistics.fmean(tasks.values()):.2f}",
            f"{statistics.fmean(min(1.0, max(0.0, row.protected)) for row in group):.2f}",
            ", ".join(f"{task} {value:.2f}" for task, value in tasks.items()),
            f"{max(tasks.values()):.2f}",
            f"{statistics.fmean(row.noise for row in group):.2f}",
            str(len({row.seed for row in group})),
            f"{statistics.fmean(row.cpu_seconds for row in group):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _tasks(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.task for row in rows))
