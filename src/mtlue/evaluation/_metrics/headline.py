"""The metric that says how much of a task was learned."""

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
    """The metric that says how much of a task was learned, from chance to a perfect answer.

    Attributes:
        metric: Name of the metric, as `evaluate` returns it.
        name: Its name in tables.
        unit: Its unit in tables; empty if it has none.
        perfect: Its value for a perfect answer. The metric is an error, for which lower is better, if this is 0.
        scale: The factor that tables multiply it by.
        digits: Digits after the decimal point in tables.
        chance: Its value for the best answer that ignores the image, if this is known without data. Otherwise None, and
            `best_constant_for` measures it. Tasks whose headlines differ only in this share a metric.

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
        """Whether the metric is an error."""
        return self.perfect == 0.0

    def share_learned(self, value: float, chance: float) -> float:
        """Return how far a value has come from chance (0) to perfect (1). NaN if chance is already perfect."""
        return (value - chance) / (self.perfect - chance) if chance != self.perfect else math.nan

    def text(self, value: float) -> str:
        """Format a value for tables."""
        return f"{self.scale * value:.{self.digits}f}" if math.isfinite(value) else "–"


@singledispatch
def headline_for(task: Task) -> Headline | None:
    """Return the metric that R (residual learnability) is computed from, or None if the task's kind has none registered.

    Use ``headline_for.register`` for a kind of task of your own. It takes a function of the task.

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
    """Return the headline metric of each task that has one."""
    return {name: found for name, task in tasks.items() if (found := headline_for(task)) is not None}


def value_of(counted: Headline, metrics: Mapping[str, float], name: str) -> float:
    """Pick the headline metric out of all metrics of a task.

    Raises:
        ValueError: it is not among them. The message names the task.
    """
    if counted.metric not in metrics:
        raise ValueError(
            f"task {name!r}: expected its headline metric {counted.metric!r} to be measured, got {list(metrics)}; "
            "register metrics with evaluation.metrics_for.register"
        )
    return metrics[counted.metric]


def known_chance(headlines: Mapping[str, Headline]) -> dict[str, float]:
    """Return the chance level of each task for which it is known without data."""
    return {name: counted.chance for name, counted in headlines.items() if counted.chance is not None}


def unregistered(tasks: Mapping[str, Task], *, known: Collection[str] = ()) -> list[str]:
    """Return a sentence for each kind of task that a report cannot cover fully. It names the missing registration.

    Args:
        tasks: The tasks.
        known: Names of the tasks whose chance level is known.
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
    """Return the share that is still learned: (protected - chance) / (clean - chance).

    1 means that a model learns as much from protected images as from clean ones, and 0 that it learns nothing. Below 0 it is
    misled. NaN if a model does not learn from clean images either.

    Args:
        protected: A metric of the model trained on protected images.
        clean: The metric of the model trained on clean images.
        chance: The metric of the best answer that ignores the image.
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
    """Return residual learnability for each set that a victim was trained on, except the clean one."""
    return {
        data: residual_learnability(value, reference, chance, lower_is_better=lower_is_better)
        for data, value in values.items()
        if data != CLEAN
    }
