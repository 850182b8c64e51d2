"""Several methods side by side."""

from __future__ import annotations

import json
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from mtlue._tasks import Task, tasks_to_config
from mtlue.evaluation._comparison_html import comparison_page
from mtlue.evaluation._comparison_table import to_latex, to_markdown
from mtlue.evaluation._measurement import CLEAN, NO_DEFENSE, NOISE, Measurement
from mtlue.evaluation._metrics import headlines_of, known_chance, residual_learnability
from mtlue.evaluation._report import without_nan
from mtlue.evaluation._report_chart import COLORS, draw_report
from mtlue.evaluation._rows import Row, deviation, hardly_learned, rows_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Those colours of Okabe and Ito that the controls do not use, and darker ones of the same hues.
_METHODS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#6B4423", "#7A3500", "#005C43", "#7A3F60")


@dataclass(frozen=True)
class Comparison:
    """What victims learned from the sets of several methods. `compare` makes it; print it for a table.

    Attributes:
        tasks: The tasks.
        epsilons: The budget of each method, by name.
        measurements: All results. For victims that were trained on protected images, ``data`` holds the name of the method and
            ``seed`` the number of the run.
        settings: How the victims were trained.
        chance: As in `Report`.

    Example:
        >>> import mtlue
        >>> from mtlue import evaluation
        >>> def report(protected, seed):
        ...     accuracies = {"clean": 0.9, "random noise": 0.88, "protected": protected}
        ...     return evaluation.Report({"gender": mtlue.Classification(2)}, 8 / 255, [
        ...         evaluation.Measurement(data, "multi-task", "none", "gender", seed, *[{"balanced_accuracy": value}] * 2, 1)
        ...         for data, value in accuracies.items()
        ...     ])
        >>> # Reports as evaluation.audit makes them: two of one method, one of the other.
        >>> print(evaluation.compare({"mine": [report(0.52, 0), report(0.54, 1)], "TAP": report(0.6, 0)}))
        | victim | trained on | gender | R |
        |---|---|---:|---:|
        | multi-task | chance | 50.0 | 0.00 |
        | multi-task | clean | 90.0 | 1.00 |
        | multi-task | random noise | 88.0 | 0.95 |
        | multi-task | mine | **53.0 ± 1.4** | **0.08 ± 0.04** |
        | multi-task | TAP | 60.0 | 0.25 |
        <BLANKLINE>
        Balanced accuracy (%) on clean test images, mean ± standard deviation over runs (mine 2, TAP 1).
        R: the share of what clean images teach that is still learned (0 = nothing, 1 = all), mean over tasks; bold = lowest.
    """

    tasks: Mapping[str, Task]
    epsilons: Mapping[str, float]
    measurements: Sequence[Measurement]
    settings: Mapping[str, Any] = field(default_factory=dict)
    chance: Mapping[str, float] = field(default_factory=dict)

    @property
    def methods(self) -> list[str]:
        """Names of the methods, in the order given to `compare`."""
        return list(self.epsilons)

    def rows(self) -> list[Row]:
        """One row for each victim, defence and task, with the values of the controls and of each method."""
        chance = {**known_chance(headlines_of(self.tasks)), **self.chance}
        return rows_of(self.tasks, chance, self.measurements)

    def runs(self, method: str) -> int:
        """Return the number of runs of a method."""
        return len({each.seed for each in self.measurements if each.data == method})

    def mean_residuals(self, rows: Sequence[Row]) -> dict[str, tuple[float, float]]:
        """Return R of each method and of the noise, with standard deviations over the runs. R is the mean over the rows' tasks.

        Tasks that were hardly learned from clean images are left out. R is NaN if no task is left.
        """
        lost = hardly_learned(self.rows(), headlines_of(self.tasks))
        counted = [row for row in rows if row.task not in lost]
        return {name: self._mean_residual(name, counted) for name in (NOISE, *self.methods)}

    def _mean_residual(self, name: str, rows: Sequence[Row]) -> tuple[float, float]:
        rows = [row for row in rows if math.isfinite(row.residuals.get(name, math.nan))]
        if not rows:
            return math.nan, math.nan
        by_run: dict[int, list[float]] = {}
        for row in rows:
            reference = self._reference(row)
            lower = headlines_of(self.tasks)[row.task].lower_is_better
            for each in self.measurements:
                if (each.data, each.victim, each.defense, each.task) == (name, row.victim, row.defense, row.task):
                    value = residual_learnability(each.last[row.metric], reference, row.chance, lower_is_better=lower)
                    by_run.setdefault(each.seed, []).append(value)
        means = [statistics.fmean(values) for values in by_run.values()]
        return statistics.fmean(row.residuals[name] for row in rows), deviation(means)

    def _reference(self, row: Row) -> float:
        """Return what an undefended victim reaches with clean images."""
        undefended = (CLEAN, row.victim, NO_DEFENSE, row.task)
        return statistics.fmean(
            each.last[row.metric]
            for each in self.measurements
            if (each.data, each.victim, each.defense, each.task) == undefended
        )

    def notes(self) -> list[str]:
        """Sentences that explain the table, one a line."""
        headlines = headlines_of(self.tasks)
        titles = list(dict.fromkeys(counted.title for counted in headlines.values()))
        errors = dict.fromkeys(counted.name for counted in headlines.values() if counted.lower_is_better)
        runs = ", ".join(f"{name} {self.runs(name)}" for name in self.methods)
        what = ", ".join(titles) if len(titles) != 1 else titles[0]
        lines = [f"{what[:1].upper()}{what[1:]} on clean test images, mean ± standard deviation over runs ({runs})."]
        lines += [f"For {' and '.join(errors)}, less is better."] if errors else []
        lines.append(
            "R: the share of what clean images teach that is still learned (0 = nothing, 1 = all), mean over tasks; "
            "bold = lowest."
        )
        if len(set(self.epsilons.values())) > 1:
            budgets = ", ".join(f"{name} {255 * epsilon:.3g}/255" for name, epsilon in self.epsilons.items())
            lines.append(f"The budgets differ: {budgets}.")
        noise = self.settings.get("noise_epsilon")
        if isinstance(noise, list):
            lines.append(
                f"Random noise is the mean over several sizes: {', '.join(f'{255 * size:.3g}/255' for size in noise)}."
            )
        lost = hardly_learned(self.rows(), headlines)
        lines += [f"Hardly learned from clean images either, and left out of R: {', '.join(lost)}."] if lost else []
        return lines

    def to_markdown(self) -> str:
        """Return a Markdown table: controls first, then the methods, with a column for each task."""
        return "\n".join([to_markdown(self), "", *self.notes()])

    def to_latex(self) -> str:
        """Return the same table in LaTeX for the package booktabs. The notes are comments above it."""
        return to_latex(self)

    def to_html(self) -> str:
        """Return a page for a browser: one file that works offline."""
        return comparison_page(self)

    def to_json(self) -> str:
        """Return every measurement and the rows, with mean and spread of each method, as JSON. NaN becomes null."""
        content = {
            "tasks": tasks_to_config(self.tasks),
            "epsilons": dict(self.epsilons),
            "settings": dict(self.settings),
            "chance": dict(self.chance),
            "rows": [{name: each for name, each in asdict(row).items() if name != "best"} for row in self.rows()],
            "measurements": [asdict(each) for each in self.measurements],
        }
        return json.dumps(without_nan(content), indent=2)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw a chart: the headline metric of each task by method, with the controls and chance. Needs the extra ``plot``.

        Args:
            path: File to write; its ending decides the format. None writes nothing.

        Returns:
            The figure, which a notebook shows.

        Raises:
            ImportError: matplotlib is not installed.
        """
        colors = {name: COLORS[name] for name in (CLEAN, NOISE)}
        colors |= {name: _METHODS[index % len(_METHODS)] for index, name in enumerate(self.methods)}
        return draw_report(self.rows(), headlines_of(self.tasks), path, epsilons=self.epsilons.values(), colors=colors)

    #: How a notebook shows a comparison.
    _repr_markdown_ = to_markdown

    def __str__(self) -> str:
        """Return the Markdown table."""
        return self.to_markdown()

    def __repr__(self) -> str:
        """Return the methods and their numbers of runs."""
        return f"Comparison({', '.join(f'{name}: {self.runs(name)} runs' for name in self.methods)})"
