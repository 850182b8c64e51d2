"""The rows of a report."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mtlue._tasks import Task
from mtlue.evaluation._measurement import CLEAN, NO_DEFENSE, NOISE, PROTECTED, Measurement
from mtlue.evaluation._metrics import Headline, headline_for, residuals_of

#: A tenth of the way from chance to perfect can be luck.
LEARNED = 0.1


@dataclass(frozen=True)
class Row:
    """One row of a report: the headline metric of a task, as means over seeds.

    Attributes:
        victim: ``"multi-task"`` or ``"single-task"``.
        defense: The victim's defence, or ``"none"``.
        task: The task.
        metric: Name of the headline metric (see `headline_for`): ``"balanced_accuracy"``, ``"miou"``, ``"absolute_error"``,
            ``"mean_angle"`` or one of your own. Errors are better when lower.
        chance: Its value for the best answer that ignores the image.
        values: Its value after the last epoch, by the set that the victim was trained on.
        spreads: The standard deviation of each value over the seeds; 0 with one seed.
        best: The value for the protected set after the best epoch.
        residuals: Residual learnability of each set except the clean one, relative to a victim without a defence.

    Example:
        >>> import mtlue
        >>> from mtlue.evaluation import Measurement, Report
        >>> def measured(data, seed, accuracy):
        ...     values = {"balanced_accuracy": accuracy}
        ...     return Measurement(data, "multi-task", "none", "gender", seed, values, values, best_epoch=1)
        >>> accuracies = {"clean": (1.0, 0.75), "protected": (0.625, 0.5)}  # of two seeds
        >>> found = [measured(data, *each) for data, both in accuracies.items() for each in enumerate(both)]
        >>> # A report as evaluation.audit makes it.
        >>> [row] = Report({"gender": mtlue.Classification(2)}, 8 / 255, found).rows()
        >>> row.metric, row.chance
        ('balanced_accuracy', 0.5)
        >>> row.values, row.residuals
        ({'clean': 0.875, 'protected': 0.5625}, {'protected': 0.16666666666666666})
    """

    victim: str
    defense: str
    task: str
    metric: str
    chance: float
    values: dict[str, float]
    spreads: dict[str, float]
    best: float
    residuals: dict[str, float]


def rows_of(tasks: Mapping[str, Task], chance: Mapping[str, float], measurements: Sequence[Measurement]) -> list[Row]:
    """Return a row for each victim, defence and task that has a headline metric and was learned from clean images."""
    rows = []
    for victim, defense, task in dict.fromkeys((each.victim, each.defense, each.task) for each in measurements):
        counted = headline_for(tasks[task])
        of_task = [each for each in measurements if (each.victim, each.task) == (victim, task)]
        undefended = [each for each in of_task if (each.defense, each.data) == (NO_DEFENSE, CLEAN)]
        if counted is not None and undefended:
            chosen = [each for each in of_task if each.defense == defense]
            rows.append(_row(counted, chance.get(task, math.nan), chosen, undefended))
    return rows


def hardly_learned(rows: Sequence[Row], headlines: Mapping[str, Headline]) -> list[str]:
    """Return the tasks that a victim hardly learned from clean images either, so that their R says nothing."""
    lost = (
        row.task
        for row in rows
        if row.defense == NO_DEFENSE and headlines[row.task].share_learned(row.values[CLEAN], row.chance) < LEARNED
    )
    return list(dict.fromkeys(lost))


def no_better_than_noise(rows: Sequence[Row], *, margin: float) -> list[str]:
    """Return the tasks that undefended victims learn from protected images as well as from random noise, within a margin.

    If this holds for one kind of victim only, that kind is named beside the task.
    """
    undefended = [row for row in rows if row.defense == NO_DEFENSE]
    failed = [
        row for row in undefended if row.residuals.get(PROTECTED, math.nan) >= row.residuals.get(NOISE, math.nan) - margin
    ]
    names = []
    for task in dict.fromkeys(row.task for row in failed):
        victims = [row.victim for row in failed if row.task == task]
        all_of_them = len(victims) == sum(row.task == task for row in undefended)
        names.append(task if all_of_them else f"{task} ({', '.join(victims)})")
    return names


def deviation(values: Sequence[float]) -> float:
    """Return the standard deviation of some runs: 0 for one, and NaN if one of them is NaN."""
    if len(values) < 2:
        return 0.0
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


def _row(counted: Headline, chance: float, measurements: Sequence[Measurement], undefended: Sequence[Measurement]) -> Row:
    first = measurements[0]
    found: dict[str, list[float]] = {}
    for each in measurements:
        found.setdefault(each.data, []).append(each.last[counted.metric])
    best = [each.best[counted.metric] for each in measurements if each.data == PROTECTED]
    values = {data: statistics.fmean(each) for data, each in found.items()}
    reference = statistics.fmean(each.last[counted.metric] for each in undefended)
    return Row(
        first.victim,
        first.defense,
        first.task,
        counted.metric,
        chance,
        values,
        {data: deviation(each) for data, each in found.items()},
        statistics.fmean(best) if best else math.nan,
        residuals_of(values, reference, chance, lower_is_better=counted.lower_is_better),
    )
