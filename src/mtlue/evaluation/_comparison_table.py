"""The tables of a comparison."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtlue.evaluation._measurement import CLEAN, NO_DEFENSE, NOISE
from mtlue.evaluation._metrics import headlines_of
from mtlue.evaluation._report_table import in_cell
from mtlue.evaluation._rows import Row

if TYPE_CHECKING:
    from mtlue.evaluation._comparison import Comparison

_TITLES = ("victim", "trained on")
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "–": "--", "°": r"\textdegree{}",
}  # fmt: skip


@dataclass(frozen=True)
class Line:
    """One line of a table.

    Attributes:
        texts: The victim, and what it was trained on.
        numbers: A cell for each task, and R.
        bold: Which of the numbers are bold.
    """

    texts: tuple[str, str]
    numbers: tuple[str, ...]
    bold: tuple[bool, ...]


def header_of(comparison: Comparison) -> list[str]:
    """Return the names of the columns."""
    return [*_TITLES, *_names(comparison), "R"]


def blocks_of(comparison: Comparison) -> list[list[Line]]:
    """Return the lines of each victim: chance, the controls, and the methods."""
    rows = comparison.rows()
    kinds = dict.fromkeys((row.victim, row.defense) for row in rows)
    return [_block(comparison, [row for row in rows if (row.victim, row.defense) == kind]) for kind in kinds]


def to_markdown(comparison: Comparison) -> str:
    """Return the table in Markdown."""
    header = header_of(comparison)
    lines = [f"| {' | '.join(map(in_cell, header))} |", "|" + "---|" * len(_TITLES) + "---:|" * (len(header) - len(_TITLES))]
    for line in (line for block in blocks_of(comparison) for line in block):
        numbers = [f"**{cell}**" if bold else cell for cell, bold in zip(line.numbers, line.bold, strict=True)]
        lines.append(f"| {' | '.join([*map(in_cell, line.texts), *numbers])} |")
    return "\n".join(lines)


def to_latex(comparison: Comparison) -> str:
    """Return the table in LaTeX."""
    header = header_of(comparison)
    lines = [f"% {note}" for note in comparison.notes()]
    lines += [rf"\begin{{tabular}}{{ll{'r' * (len(header) - len(_TITLES))}}}", r"\toprule"]
    lines.append(" & ".join(map(_latex, header)) + r" \\")
    for block in blocks_of(comparison):
        lines.append(r"\midrule")
        for line in block:
            numbers = [
                rf"\textbf{{{_latex(cell)}}}" if bold else _latex(cell)
                for cell, bold in zip(line.numbers, line.bold, strict=True)
            ]
            lines.append(" & ".join([*map(_latex, line.texts), *numbers]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"])


def _names(comparison: Comparison) -> list[str]:
    """Return the tasks as column names, with their metrics if these differ."""
    headlines = headlines_of(comparison.tasks)
    one = len(set(headlines.values())) == 1
    return [name if one else f"{name}, {counted.title}" for name, counted in headlines.items()]


def _block(comparison: Comparison, rows: Sequence[Row]) -> list[Line]:
    of_task = {row.task: row for row in rows}
    victim = rows[0].victim + ("" if rows[0].defense == NO_DEFENSE else f", {rows[0].defense}")
    means = {"chance": (0.0, 0.0), CLEAN: _clean_residual(rows), **comparison.mean_residuals(rows)}
    methods = [name for name in comparison.methods if any(name in row.values for row in rows)]
    shown = ["chance", CLEAN, *([NOISE] if any(NOISE in row.values for row in rows) else []), *methods]
    headlines = headlines_of(comparison.tasks)
    lines = []
    for name in shown:
        cells, bold = [], []
        for task, counted in headlines.items():
            row = of_task.get(task)
            values, spreads = ({}, {}) if row is None else ({**row.values, "chance": row.chance}, row.spreads)
            spread = f" ± {counted.text(spreads[name])}" if spreads.get(name) else ""
            cells.append(f"{counted.text(values[name])}{spread}" if name in values else "–")
            bold.append(row is not None and name in methods and _is_least(name, methods, row.residuals))
        mean, spread_of_mean = means[name]
        cells.append("–" if not math.isfinite(mean) else f"{mean:.2f}" + (f" ± {spread_of_mean:.2f}" if spread_of_mean else ""))
        bold.append(name in methods and _is_least(name, methods, {each: means[each][0] for each in methods}))
        lines.append(Line((victim, name), tuple(cells), tuple(bold)))
    return lines


def _clean_residual(rows: Sequence[Row]) -> tuple[float, float]:
    # A defended victim is compared with an undefended one, whose figures stand in another table.
    return (1.0, 0.0) if rows[0].defense == NO_DEFENSE else (math.nan, 0.0)


def _is_least(name: str, methods: Sequence[str], residuals: dict[str, float]) -> bool:
    known = {each: residuals[each] for each in methods if math.isfinite(residuals.get(each, math.nan))}
    return len(known) > 1 and name in known and known[name] == min(known.values())


def _latex(text: str) -> str:
    return re.sub("|".join(map(re.escape, _LATEX)), lambda found: _LATEX[found[0]], text)
