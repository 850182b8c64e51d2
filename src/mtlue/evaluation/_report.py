"""The report of an audit."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from mtlue._tasks import Task, tasks_from_config, tasks_to_config
from mtlue.evaluation._examples import Example
from mtlue.evaluation._measurement import MULTI, NO_DEFENSE, PROTECTED, Measurement
from mtlue.evaluation._metrics import Headline, headlines_of, known_chance, unregistered
from mtlue.evaluation._report_chart import draw_report
from mtlue.evaluation._report_html import report_page
from mtlue.evaluation._report_table import to_markdown, to_text
from mtlue.evaluation._rows import LEARNED, Row, hardly_learned, no_better_than_noise, rows_of
from mtlue.evaluation._verdict import Verdict, verdict_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEGEND = (
    "R: 0 = nothing is learned, 1 = as much as from clean images.",
    "Best: from protected images, after the epoch that did best on the test images.",
)


@dataclass(frozen=True)
class Report:
    """What victims learned from clean images, from random noise of the same budget and from protected images.

    Print it for a table. Metrics are measured on clean test images.

    Attributes:
        tasks: The tasks.
        epsilon: The budget of the protection.
        measurements: The results of every victim at every task.
        settings: How the victims were trained.
        chance: The headline metric of each task for the best answer that ignores the image. For classification it is 1/C, for
            other tasks that of the best constant on the test set (see `best_constant_for`).
        examples: Some of the images, for `to_html`. JSON does not hold them.

    Example:
        >>> import mtlue
        >>> from mtlue.evaluation import Measurement, Report
        >>> accuracies = {"clean": 0.9, "random noise": 0.88, "protected": 0.54}
        >>> def measured(data):
        ...     values = {"balanced_accuracy": accuracies[data]}
        ...     return Measurement(data, "multi-task", "none", "gender", 0, values, values, best_epoch=1)
        >>> # As evaluation.audit makes it.
        >>> report = Report({"gender": mtlue.Classification(2)}, 8 / 255, [*map(measured, accuracies)])
        >>> report
        Report(R: gender=0.10)
        >>> print(report.to_markdown())
        | victim | defense | task | metric | chance | clean | random noise | protected | best epoch | R noise | R protected |
        |---|---|---|---|---:|---:|---:|---:|---:|---:|---:|
        | multi-task | none | gender | balanced accuracy (%) | 50.0 | 90.0 | 88.0 | 54.0 | 54.0 | 0.95 | 0.10 |
        <BLANKLINE>
        Metrics on clean test images. Epsilon 8/255, random noise ±8/255.
        R: 0 = nothing is learned, 1 = as much as from clean images.
        Best: from protected images, after the epoch that did best on the test images.
        >>> Report.from_json(report.to_json()) == report
        True
    """

    tasks: Mapping[str, Task]
    epsilon: float
    measurements: Sequence[Measurement]
    settings: Mapping[str, Any] = field(default_factory=dict)
    chance: Mapping[str, float] = field(default_factory=dict)
    examples: Sequence[Example] = field(default=(), compare=False)

    @property
    def residual_learnability(self) -> dict[str, float]:
        """R of each task for a multi-task victim without a defence: (protected - chance) / (clean - chance)."""
        rows = [row for row in self.rows() if (row.victim, row.defense) == (MULTI, NO_DEFENSE)]
        return {row.task: row.residuals[PROTECTED] for row in rows if PROTECTED in row.residuals}

    @property
    def verdict(self) -> Verdict:
        """Whether the set is protected, and why. Defences that were tried count too."""
        rows = self.rows()
        names = self.settings.get("protected_tasks", list(self.tasks))
        return verdict_of(rows, names, self.hardly_learned(), margin=LEARNED)

    def rows(self) -> list[Row]:
        """One row for each victim, defence and task that has a headline metric and was learned from clean images."""
        # Chance levels that need no data are known for a report that was built by hand, too.
        return rows_of(self.tasks, {**known_chance(self._headlines), **self.chance}, self.measurements)

    def hardly_learned(self) -> list[str]:
        """Tasks that a victim hardly learned from clean images either, so that their R says nothing."""
        return hardly_learned(self.rows(), self._headlines)

    def to_markdown(self) -> str:
        """Return the rows as a Markdown table. Metrics have their units, R is a share.

        The last row of each victim is the mean over its tasks; of R alone if the tasks have different metrics.
        """
        return "\n".join([to_markdown(self.rows(), self._headlines), "", *self.notes()])

    def notes(self) -> list[str]:
        """Sentences that explain the table, one a line."""
        rows, headlines = self.rows(), self._headlines
        errors = dict.fromkeys(headlines[row.task].name for row in rows if headlines[row.task].lower_is_better)
        text = "Metrics on clean test images"
        text += f"; for {' and '.join(errors)}, less is better" if errors else ""
        noise = self.settings.get("noise_epsilon", self.epsilon)
        parts = [f"{text}. Epsilon {255 * self.epsilon:.3g}/255", f"random noise ±{255 * noise:.3g}/255"]
        parts += [f"{name} {self.settings[name]}" for name in ("epochs", "seeds") if name in self.settings]
        lines = [", ".join(parts) + ".", *_LEGEND]
        lost = self.hardly_learned()
        if lost:
            lines.append(f"Hardly learned from clean images either, so R says nothing: {', '.join(lost)}; train longer.")
        useless = no_better_than_noise([row for row in rows if row.task not in lost], margin=LEARNED)
        if useless:
            lines.append(f"Hardly better than random noise (R less than {LEARNED} below its R): {', '.join(useless)}.")
        lines += [f"{sentence[0].upper()}{sentence[1:]}." for sentence in unregistered(self.tasks, known=self.chance)]
        return lines

    @property
    def _headlines(self) -> dict[str, Headline]:
        return headlines_of(self.tasks)

    def __str__(self) -> str:
        """Return the table as text."""
        return "\n".join([to_text(self.rows(), self._headlines), "", *self.notes()])

    def to_json(self) -> str:
        """Return the report as JSON, without the pictures of its examples. NaN becomes null."""
        content = {
            "tasks": tasks_to_config(self.tasks),
            "epsilon": self.epsilon,
            "settings": dict(self.settings),
            "chance": dict(self.chance),
            "residual_learnability": self.residual_learnability,
            "measurements": [asdict(each) for each in self.measurements],
        }
        return json.dumps(without_nan(content), indent=2)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read the report that `to_json` wrote.

        Raises:
            ValueError: the text is not the JSON of `to_json`.
        """
        try:
            content = json.loads(text)
            measurements = [
                Measurement(**{**each, "last": _with_nan(each["last"]), "best": _with_nan(each["best"])})
                for each in content["measurements"]
            ]
            chance = _with_nan(content.get("chance", {}))
            return cls(tasks_from_config(content["tasks"]), content["epsilon"], measurements, content["settings"], chance)
        except (KeyError, TypeError, AttributeError, RecursionError, json.JSONDecodeError) as error:
            raise ValueError(f"text: expected what Report.to_json writes: {error!r}") from error

    def to_html(self) -> str:
        """Return a page for a browser: one file that works offline, with the verdict first.

        Below the verdict are the tasks, what victims learned with and without defences, some images beside their perturbations
        with PSNR and SSIM, and the settings with the seeds. Keep the page to yourself: it says what works against the
        protection.
        """
        return report_page(self)

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw a chart: the headline metric of each task by training set, with chance. Needs the extra ``plot``.

        Args:
            path: File to write; its ending decides the format. None writes nothing.

        Returns:
            The figure, which a notebook shows.

        Raises:
            ImportError: matplotlib is not installed.
        """
        return draw_report(self.rows(), self._headlines, path, epsilons=[self.epsilon])

    #: How a notebook shows a report.
    _repr_markdown_ = to_markdown

    def __repr__(self) -> str:
        """Return R by task."""
        shares = ", ".join(f"{task}={value:.2f}" for task, value in self.residual_learnability.items())
        return f"Report(R: {shares})"


def without_nan(value: Any) -> Any:
    """Replace numbers that are not finite by None, which JSON writes as null."""
    if isinstance(value, Mapping):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _with_nan(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: math.nan if value is None else value for name, value in values.items()}
