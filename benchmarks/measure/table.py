"""Rows as tables in Markdown."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import TypeAlias

from measure.measuring import CHECK, MULTI, ROUNDED, SINGLE, Row

#: R up to which a task counts as protected.
PROTECTED = 0.3


#: Columns of a table by their headings, in their order.
COLUMNS = {
    "set": "---",
    "recipe": "---",
    "seeds": "---:",
    "multi-task": "---:",
    "by task": "---",
    "worst": "---:",
    "single-task": "---:",
    "JPEG 10": "---:",
    "strong augmentation": "---:",
    "noise": "---:",
    "CPU s": "---:",
}


def table(rows: Sequence[Row], columns: Iterable[str] = COLUMNS) -> str:
    """R of each recipe on each set, held to [0, 1] in the means: by kind of victim, the worst task, and the control."""
    shown = list(columns)
    lines = [f"| {' | '.join(shown)} |", f"|{'|'.join(COLUMNS[name] for name in shown)}|"]
    for (name, recipe), group in _groups(rows, "set", "recipe").items():
        multi = _of(group, MULTI)
        tasks = {task: statistics.fmean(row.protected for row in multi if row.task == task) for task in _tasks(multi)}
        cells = {
            "set": name,
            "recipe": recipe,
            "seeds": str(len({row.seed for row in group})),
            "multi-task": _mean(multi),
            "by task": ", ".join(f"{task} {value:.2f}" for task, value in tasks.items()),
            "worst": f"{max(tasks.values()):.2f}" if tasks else "–",
            "single-task": _mean(_of(group, SINGLE)),
            "JPEG 10": _mean(_of(group, MULTI, "JPEG 10")),
            "strong augmentation": _mean(_of(group, MULTI, "strong augmentation")),
            "noise": f"{statistics.fmean(row.noise for row in multi):.2f}" if multi else "–",
            "CPU s": _seconds(group),
        }
        lines.append(f"| {' | '.join(cells[name] for name in shown)} |")
    return "\n".join(lines)


def alone_table(alone: Sequence[Row], among: Sequence[Row]) -> str:
    """R of labels that were protected alone, beside what is left of them where all labels of the set are protected."""
    lines = [
        "| set | label | seeds | alone | among all, multi-task | among all, single-task |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for (name, task), group in _groups(alone, "set", "task").items():
        whole = name.removesuffix(f": {task}")
        same = [row for row in among if (row.set, row.task) == (whole, task)]
        figures = [str(len({row.seed for row in group})), _mean(_of(group, MULTI)), _mean(_of(same, MULTI))]
        lines.append(f"| {' | '.join([whole, task, *figures, _mean(_of(same, SINGLE))])} |")
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
    sides = _sides(rows)
    if not sides:
        return ""
    tasks, means = (
        [pair for pairs, _ in sides.values() for pair in pairs],
        [mean for _, means in sides.values() for mean in means],
    )
    return (
        f"The check is on the same side of R = {PROTECTED} as the full victim for {_same(tasks)} of {len(tasks)} tasks, "
        f"and for {_same(means)} of {len(means)} means over tasks."
    )


def check_table(rows: Sequence[Row]) -> str:
    """What the full multi-task victim and the check find on each set, and how often they agree."""
    lines = [
        "| set | seeds | full victim | check | same side | called protected, and is not |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, (tasks, means) in _sides(rows).items():
        full, check = (statistics.fmean(pair[place] for pair in means) for place in (0, 1))
        missed = sum(check < PROTECTED <= full for full, check in tasks)
        lines.append(f"| {name} | {len(means)} | {full:.2f} | {check:.2f} | {_same(tasks)} of {len(tasks)} | {missed} |")
    return "\n".join(lines)


def attempts_table(rows: Sequence[Row], attempts: int = 3) -> str:
    """What the generator that the check prefers among several seeds leaves, beside their mean."""
    kinds = {"multi-task": (MULTI, ""), "single-task": (SINGLE, ""), "JPEG 10": (MULTI, "JPEG 10")}
    headings = [f"{name}, {figure}" for name in kinds for figure in ("mean", "kept")]
    lines = [f"| set | seeds | {' | '.join(headings)} |", f"|---|---|{'---:|' * len(headings)}"]
    for (name,), group in _groups([row for row in rows if _of([row], CHECK)], "set").items():
        seeds = sorted({row.seed for row in group})
        for first in range(0, len(seeds) - attempts + 1, attempts):
            taken = seeds[first : first + attempts]
            best = min(taken, key=lambda seed: _value([row for row in group if row.seed == seed]))
            figures = []
            for victim, treatment in kinds.values():
                each = {
                    seed: _of([row for row in rows if (row.set, row.seed) == (name, seed)], victim, treatment) for seed in taken
                }
                mean = statistics.fmean(_value(of_seed) for of_seed in each.values()) if all(each.values()) else math.nan
                figures += ["–" if math.isnan(mean) else f"{mean:.2f}", _mean(each[best])]
            lines.append(f"| {name} | {', '.join(map(str, taken))} | {' | '.join(figures)} |")
    return "\n".join(lines)


#: R by the full victim and by the check.
_Pair: TypeAlias = tuple[float, float]


def _sides(rows: Sequence[Row]) -> dict[str, tuple[list[_Pair], list[_Pair]]]:
    """R by the full victim and by the check, by set: of each task, and of the means over the tasks of each run."""
    found: dict[str, tuple[list[_Pair], list[_Pair]]] = {}
    for (name, _, _), group in _groups(rows, "set", "recipe", "seed").items():
        full, check = _of(group, MULTI), _of(group, CHECK)
        if full and check:
            by_task = {row.task: row.protected for row in full}
            tasks, means = found.setdefault(name, ([], []))
            tasks += [(by_task[row.task], row.protected) for row in check]
            means.append((_value(full), _value(check)))
    return found


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


def _seconds(rows: Sequence[Row]) -> str:
    """The mean of the runs on a processor."""
    measured = [row.cpu_seconds for row in rows if not math.isnan(row.cpu_seconds)]
    return f"{statistics.fmean(measured):.0f}" if measured else "–"


def _tasks(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.task for row in rows))
