"""The metric of a task that says how much has been learned."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import singledispatch

from mtlue._tasks import Task, is_registered
from mtlue.evaluation._measurement import CLEAN
from mtlue.evaluation._metrics.constant import best_constant_for


@dataclass(frozen=True)
class Headline:
    """A metric that says how much of a task has been learned, from chance to a perfect answer.

    Attributes:
        metric: Name of the metric, as `evaluate` gives it.
        name: What tables call it.
        unit: Its unit in tables, if they have one to name.
        perfect: Its value for a perfect answer; an error, whose is 0, is better when lower.
        scale: What tables multiply it by.
        digits: Digits after the point in tables.
        chance: Its value for the best answer that ignores the image, where that is known without data; if None it is measured
            with `best_constant_for`. Tasks that differ in this alone have the same metric.

    Example:
        >>> from mtlue import evaluation
        >>> error = evaluation.Headline("mean_error", "mean error", unit="people", perfect=0.0, digits=1)
        >>> error.title, error.text(3.14159), error.lower_is_better
        ('mean error (people)', '3.1', True)
        >>> error.share_learned(1.0, chance=4.0)
        0.75
    """

    metric: str
    name: str
    _: KW_ONLY
    unit: str = ""
    perfect: float
    scale: float = 1.0
    digits: int = 3
    chance: float | None = field(default=None, compare=False)

    @property
    def title(self) -> str:
        """Name and unit."""
        return f"{self.name} ({self.unit})" if self.unit else self.name

    @property
    def lower_is_better(self) -> bool:
        """Whether it is an error."""
        return self.perfect == 0.0

    def share_learned(self, value: float, chance: float) -> float:
        """How far a value has come from chance, 0, to perfect, 1; NaN where chance is perfect already."""
        return (value - chance) / (self.perfect - chance) if chance != self.perfect else math.nan

    def text(self, value: float) -> str:
        """A value as tables have it."""
        return f"{self.scale * value:.{self.digits}f}" if math.isfinite(value) else "–"


@singledispatch
def headline_for(task: Task) -> Headline | None:
    """The metric that residual learnability is made from; None where none is registered for the task's kind.

    ``headline_for.register`` takes that of a kind of your own, a function of the task.

    Args:
        task: The task.

    Example:
        >>> import mtlue
        >>> from mtlue import evaluation
        >>> evaluation.headline_for(mtlue.Classification(4)).chance
        0.25
        >>> class Metres(mtlue.Depth):
        ...     "Depth whose relative error counts."
        >>> relative = evaluation.Headline("relative_error", "relative error", unit="%", perfect=0.0, scale=100.0)
        >>> @evaluation.headline_for.register
        ... def _(task: Metres) -> evaluation.Headline:
        ...     return relative
        >>> evaluation.headline_for(Metres()).title
        'relative error (%)'
    """
    return None


def headlines_of(tasks: Mapping[str, Task]) -> dict[str, Headline]:
    """The headline metric of each task that has one."""
    return {name: found for name, task in tasks.items() if (found := headline_for(task)) is not None}


def value_of(counted: Headline, metrics: Mapping[str, float], name: str) -> float:
    """The headline metric among all metrics of a task.

    Raises:
        ValueError: it is none of them; the message names the task.
    """
    if counted.metric not in metrics:
        raise ValueError(
            f"task {name!r}: expected its headline metric {counted.metric!r} to be measured, got {list(metrics)}; "
            "register metrics with evaluation.metrics_for.register"
        )
    return metrics[counted.metric]


def known_chance(headlines: Mapping[str, Headline]) -> dict[str, float]:
    """The chance of each task for which no data is needed to know it."""
    return {name: counted.chance for name, counted in headlines.items() if counted.chance is not None}


def unregistered(tasks: Mapping[str, Task], *, known: Collection[str] = ()) -> list[str]:
    """A sentence for each kind of task of which a report cannot say all, with the registration that is missing.

    Args:
        tasks: The tasks.
        known: Names of those whose chance is known.
    """
    found: dict[str, list[str]] = {}
    for name, task in tasks.items():
        kind, counted = type(task).__name__, headline_for(task)
        if counted is None:
            lack = (
                f"no headline metric is registered for {kind}, so there is no row for it; "
                "register one with evaluation.headline_for.register"
            )
        elif counted.chance is None and name not in known and not is_registered(best_constant_for, task):
            lack = (
                f"no best constant answer is registered for {kind}, so chance and R are not known; "
                "register one with evaluation.best_constant_for.register"
            )
        else:
            continue
        found.setdefault(lack, []).append(repr(name))
    return [f"task{'s' if len(names) > 1 else ''} {', '.join(names)}: {lack}" for lack, names in found.items()]


def residual_learnability(protected: float, clean: float, chance: float, *, lower_is_better: bool = False) -> float:
    """What is left to learn: (protected - chance) / (clean - chance).

    1 where a model learns as much from protected images as from clean ones, 0 where it learns nothing; below 0 where it is
    misled. NaN where nothing can be learned from clean images either.

    Args:
        protected: A metric of the model trained on protected images.
        clean: That of the model trained on clean images.
        chance: That of the best answer that ignores the image.
        lower_is_better: Whether the metric is an error.

    Example:
        >>> from mtlue import evaluation
        >>> evaluation.residual_learnability(protected=0.625, clean=1.0, chance=0.5)
        0.25
        >>> degrees = {"protected": 30.0, "clean": 20.0, "chance": 40.0}
        >>> evaluation.residual_learnability(**degrees, lower_is_better=True)
        0.5
        >>> evaluation.residual_learnability(protected=0.5, clean=0.5, chance=0.5)
        nan
    """
    learned = clean < chance if lower_is_better else clean > chance
    return (protected - chance) / (clean - chance) if learned else math.nan


def residuals_of(values: Mapping[str, float], reference: float, chance: float, *, lower_is_better: bool) -> dict[str, float]:
    """Residual learnability by set that a victim was trained on, of all but the clean one."""
    return {
        data: residual_learnability(value, reference, chance, lower_is_better=lower_is_better)
        for data, value in values.items()
        if data != CLEAN
    }
