"""The chart of a report."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mtlue._runtime import require
from mtlue.evaluation._metrics import Headline
from mtlue.evaluation._rows import Row

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which colour-blind people can tell apart.
COLORS = {"clean": "#0072B2", "random noise": "#999999", "protected": "#D55E00"}


def draw_report(
    rows: Sequence[Row],
    headlines: Mapping[str, Headline],
    path: str | os.PathLike[str] | None,
    *,
    epsilons: Collection[float],
    colors: Mapping[str, str] = COLORS,
) -> Figure:
    """Draw bars for each task by training set, with a panel for each victim, defence and metric.

    Args:
        rows: The rows of the report.
        headlines: The metric of each task.
        path: File to write, or None.
        epsilons: The budgets of the protections.
        colors: Training sets in order, with the colour of each.

    Raises:
        ImportError: matplotlib is not installed.
    """
    figures = require("matplotlib.figure", extra="plot")
    metrics = list(dict.fromkeys(headlines[row.task] for row in rows))
    kinds = list(dict.fromkeys((row.victim, row.defense) for row in rows))
    groups = [
        [row for row in rows if (row.victim, row.defense, headlines[row.task]) == (*kind, metric)]
        for kind in kinds
        for metric in metrics
    ]
    # Metrics stand side by side, victims one below the other. With a single metric there is room for two victims in a line.
    across = len(metrics) if len(metrics) > 1 else (1 if len(kinds) <= 2 else 2)
    down = max(1, -(-len(groups) // across))
    widest = max((len(group) for group in groups), default=1)
    size = (across * max(4.5 if len(metrics) <= 1 else 3.0, 1.0 + 0.75 * widest), 0.8 + 2.6 * down)
    figure: Figure = figures.Figure(figsize=size, layout="constrained")
    panels = figure.subplots(down, across, squeeze=False, sharey="col" if len(metrics) > 1 else True).flatten()
    for index, panel in enumerate(panels):
        if index < len(groups) and groups[index]:
            _draw_panel(panel, groups[index], headlines[groups[index][0].task], colors)
        else:
            panel.set_visible(False)
    handles = [
        *(panels[0].bar([0], [0], color=colour, label=name) for name, colour in colors.items()),
        panels[0].plot([], [], color="black", linestyle=":", label="chance")[0],
    ]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(len(handles), max(2, int(size[0] / 1.3))), frameon=False
    )
    budgets = " to ".join(f"{255 * epsilon:.3g}/255" for epsilon in sorted({min(epsilons), max(epsilons)}))
    figure.supxlabel(f"ε = {budgets}; measured on clean test images", fontsize="small")
    if path is not None:
        figure.savefig(path, dpi=120)
    return figure


def _draw_panel(panel: Any, rows: Sequence[Row], counted: Headline, colors: Mapping[str, str]) -> None:
    defended = "" if rows[0].defense == "none" else f", {rows[0].defense}"
    sets = [name for name in colors if name in rows[0].values]
    width = 0.8 / len(sets)
    for position, name in enumerate(sets):
        places = [index + (position - (len(sets) - 1) / 2) * width for index in range(len(rows))]
        errors = [counted.scale * row.spreads[name] for row in rows]
        panel.bar(
            places,
            [counted.scale * row.values[name] for row in rows],
            width,
            color=colors[name],
            yerr=errors if any(errors) else None,
            ecolor="#444444",
        )
    for index, row in enumerate(rows):
        panel.plot([index - 0.45, index + 0.45], [counted.scale * row.chance] * 2, color="black", linestyle=":")
    panel.set_title(f"{rows[0].victim} victim{defended}", loc="left", fontsize="medium")
    panel.set_ylabel(f"{counted.title}{', less is better' if counted.lower_is_better else ''}")
    if counted.lower_is_better:
        panel.set_ylim(bottom=0)
    else:
        panel.set_ylim(0, 1.05 * counted.scale * counted.perfect)
    panel.set_xticks(range(len(rows)), [row.task for row in rows], rotation=30 if len(rows) > 6 else 0)
    panel.spines[["top", "right"]].set_visible(False)
