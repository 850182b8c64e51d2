"""From cells to a table that can be read."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mtlue.evaluation import residual_learnability
from paper.methods import CLEAN
from paper.readers import classes_of
from paper.specs import Victim
from paper.table import Column, Table
from paper.workshop import Workshop

METRIC = "balanced_accuracy"


@dataclass(frozen=True)
class Shown:
    """How a figure is written.

    Attributes:
        factor: From the metric to what is written.
        digits: After the point.
    """

    factor: float = 1.0
    digits: int = 2


#: The figures of columns. Accuracies and shares are in percent, depth in the set's unit, angles in degrees.
FIGURES = {
    "accuracy": Shown(100, 1),
    "mean": Shown(),
    "largest": Shown(),
    "miou": Shown(100, 1),
    "pixel_accuracy": Shown(100, 1),
    "absolute_error": Shown(1, 3),
    "relative_error": Shown(1, 3),
    "mean_angle": Shown(1, 1),
    "median_angle": Shown(1, 1),
}
_DEVIATIONS = ("mean", "largest")


@dataclass(frozen=True)
class Value:
    """A number of a table.

    Attributes:
        mean: Mean over seeds.
        spread: Standard deviation over seeds, 0 with one.
        seeds: How many seeds there were.
        residual: What is left to learn, from the means over tasks; None where that says nothing.
        share: Of what the same victim has after training on clean images; None where `residual` says more.
    """

    mean: float
    spread: float
    seeds: int
    residual: float | None
    share: float | None = None


def value(workshop: Workshop, column: Column, row: str, seeds: int) -> Value | None:
    """The number at a row and a column, over the seeds that are finished; None if none is."""
    means, residuals, shares = [], [], []
    factor = FIGURES[column.figure].factor
    for seed in range(seeds):
        victims = column.cells(row, seed)
        records = [workshop.store.get(workshop.key(victim)) for victim in victims]
        if not victims or any(record is None for record in records):
            continue
        found = [record for record in records if record is not None]
        if column.figure in _DEVIATIONS:
            means.append(found[0]["deviation"][_DEVIATIONS.index(column.figure)])
            continue
        metric = METRIC if column.figure == "accuracy" else column.figure
        accuracies = _by_task(victims, found, column.tasks, metric)
        mean = statistics.fmean(accuracies.values())
        means.append(factor * mean)
        reference = _reference(workshop, column, seed, metric)
        if column.figure != "accuracy":
            shares += [] if row == CLEAN or reference is None else [mean / statistics.fmean(reference.values())]
            continue
        if row != CLEAN and reference is not None and set(reference) == set(accuracies):
            # Of the means: a task that cannot be learned from clean images has no R of its own.
            chance = statistics.fmean(1 / classes_of(victims[0].protection.data.name, task) for _, task in accuracies)
            left = residual_learnability(mean, statistics.fmean(reference.values()), chance)
            residuals += [left] if math.isfinite(left) else []
    if not means:
        return None
    spread = statistics.stdev(means) if len(means) > 1 else 0.0
    return Value(
        statistics.fmean(means),
        spread,
        len(means),
        statistics.fmean(residuals) if residuals else None,
        statistics.fmean(shares) if shares else None,
    )


def _by_task(
    victims: Sequence[Victim], records: Sequence[Mapping[str, Any]], tasks: Sequence[str], metric: str
) -> dict[tuple[str, str], float]:
    """A metric by victim's only task and task."""
    return {
        (victim.task, name): metrics[metric]
        for victim, record in zip(victims, records, strict=True)
        for name, metrics in record["metrics"].items()
        if not tasks or name in tasks
    }


def _reference(workshop: Workshop, column: Column, seed: int, metric: str) -> dict[tuple[str, str], float] | None:
    """The metric of the same victims after training on clean images, without a defence: what a defence gives back."""
    victims = [replace(victim, defense="none") for victim in column.cells(CLEAN, seed)]
    records = [workshop.store.get(workshop.key(victim)) for victim in victims]
    if not victims or any(record is None for record in records):
        return None
    return _by_task(victims, [record for record in records if record is not None], column.tasks, metric)


def to_rows(workshop: Workshop, table: Table, seeds: int) -> dict[str, dict[str, Value | None]]:
    """All numbers by row and column."""
    return {row: {column.title: value(workshop, column, row, seeds) for column in table.columns} for row in table.rows}


def to_markdown(workshop: Workshop, table: Table, seeds: int, caption: str) -> str:
    """A table in Markdown: spread over seeds, R or the share of clean in brackets, and the paper's figures beside ours."""
    found = to_rows(workshop, table, seeds)
    header, ruler = ["trained on"], ["---"]
    for column in table.columns:
        header.append(column.title)
        ruler.append("---:")
        if column.paper:
            header.append(f"paper, {column.paper_set}")
            ruler.append("---:")
    number = f"Table {table.name.split()[0]}: " if table.name[0].isdigit() else ""
    lines = [f"### {number}{table.title}", "", caption, ""]
    lines += [f"| {' | '.join(header)} |", f"| {' | '.join(ruler)} |"]
    for row in table.rows:
        cells = [row]
        for column in table.columns:
            cells.append(_text(found[row][column.title], column, row))
            if column.paper:
                cells.append(f"{column.paper[row]:.4g}" if row in column.paper else "–")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _text(number: Value | None, column: Column, row: str) -> str:
    if number is None:
        return "not run" if column.cells(row, 0) else "–"
    digits = FIGURES[column.figure].digits
    spread = f" ± {number.spread:.{digits}f}" if number.seeds > 1 else ""
    beside = number.residual if number.share is None else number.share
    brackets = "" if beside is None else f" ({beside:.2f})"
    return f"{number.mean:.{digits}f}{spread}{brackets}"
