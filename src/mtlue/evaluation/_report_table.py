"""The tables of a report."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from mtlue.evaluation._measurement import CLEAN, NO_DEFENSE, NOISE, PROTECTED
from mtlue.evaluation._metrics import Headline, residuals_of
from mtlue.evaluation._rows import Row

HEADER = ("victim", "defense", "task", "metric", "chance", CLEAN, NOISE, PROTECTED, "best epoch", "R noise", "R protected")
#: Columns of text, which stand before those of numbers.
TEXTS = 4


def to_markdown(rows: Sequence[Row], headlines: Mapping[str, Headline]) -> str:
    """Return the rows as a Markdown table."""
    lines = [f"| {' | '.join(HEADER)} |", "|" + "---|" * TEXTS + "---:|" * (len(HEADER) - TEXTS)]
    return "\n".join(lines + [f"| {' | '.join(map(in_cell, cells))} |" for cells in cells_of(rows, headlines, rows)])


def in_cell(text: str) -> str:
    """Return a text as a cell of a Markdown table may hold it."""
    return text.replace("|", r"\|")


def to_text(rows: Sequence[Row], headlines: Mapping[str, Headline]) -> str:
    """Return the rows as a table of text."""
    header = ["victim", "defense", "task", "metric", "chance", CLEAN, "noise", PROTECTED, "best", "R(noise)", "R(protected)"]
    lines = [header, *cells_of(rows, headlines, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < TEXTS else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def cells_of(rows: Sequence[Row], headlines: Mapping[str, Headline], every: Sequence[Row]) -> list[list[str]]:
    """Return the cells below `HEADER`, with a line for each victim's mean over its tasks.

    Args:
        rows: The rows to show.
        headlines: The metric of each task.
        every: All rows of the report. Defended victims are compared with the undefended ones among them.
    """
    cells: list[list[str]] = []
    for kind in dict.fromkeys((row.victim, row.defense) for row in rows):
        group = [row for row in rows if (row.victim, row.defense) == kind]
        cells += [_cells_of(row, headlines[row.task]) for row in group]
        if len(group) > 1:
            undefended = [row for row in every if (row.victim, row.defense) == (kind[0], NO_DEFENSE)]
            cells.append(_mean_cells(group, undefended, headlines))
    return cells


def _cells_of(row: Row, counted: Headline) -> list[str]:
    def value(data: str) -> str:
        if data not in row.values:
            return "–"
        spread = f" ± {counted.text(row.spreads[data])}" if row.spreads.get(data) else ""
        return f"{counted.text(row.values[data])}{spread}"

    sets = [value(data) for data in (CLEAN, NOISE, PROTECTED)]
    shares = [share(row.residuals.get(data, math.nan)) for data in (NOISE, PROTECTED)]
    texts = [row.victim, row.defense, row.task, counted.title]
    return [*texts, counted.text(row.chance), *sets, counted.text(row.best), *shares]


def share(residual: float) -> str:
    """Format R for tables."""
    return f"{residual:.2f}" if math.isfinite(residual) else "–"


def _mean_cells(rows: Sequence[Row], undefended: Sequence[Row], headlines: Mapping[str, Headline]) -> list[str]:
    """Return means over tasks. If the metrics cannot be averaged, only R, over the tasks that have one."""
    first = rows[0]
    counted = {headlines[row.task] for row in rows}
    if len(counted) == 1:
        (one,) = counted
        return _cells_of(_mean_row(rows, undefended, lower_is_better=one.lower_is_better), one)
    shares = []
    for data in (NOISE, PROTECTED):
        found = [row.residuals[data] for row in rows if math.isfinite(row.residuals.get(data, math.nan))]
        shares.append(share(statistics.fmean(found) if found else math.nan))
    return [first.victim, first.defense, "mean", *["–"] * 6, *shares]


def _mean_row(rows: Sequence[Row], undefended: Sequence[Row], *, lower_is_better: bool) -> Row:
    """Return the mean over tasks. Its R is that of the means, because a task that cannot be learned has no R of its own."""
    first = rows[0]
    chance = statistics.fmean(row.chance for row in rows)
    values = {data: statistics.fmean(row.values[data] for row in rows) for data in first.values}
    reference = statistics.fmean(row.values[CLEAN] for row in undefended)
    residuals = residuals_of(values, reference, chance, lower_is_better=lower_is_better)
    best = statistics.fmean(row.best for row in rows)
    return Row(first.victim, first.defense, "mean", first.metric, chance, values, {}, best, residuals)
