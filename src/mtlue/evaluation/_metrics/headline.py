"""The metric of a task that says how much has been learned."""

from __future__ import annotations

import math
from dataclasses import dataclass

from mtlue._tasks import Classification, Depth, Segmentation, SurfaceNormals, Task


@dataclass(frozen=True)
class Headline:
    """A metric that says how much of a task has been learned, from chance to a perfect answer.

    Attributes:
        metric: Name of the metric.
        name: What tables call it.
        unit: Its unit in tables, if they have one to name.
        perfect: Its value for a perfect answer; an error, whose is 0, is better when lower.
        scale: What tables multiply it by.
        digits: Digits after the point in tables.
    """

    metric: str
    name: str
    unit: str
    perfect: float
    scale: float
    digits: int

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


_BALANCED_ACCURACY = Headline("balanced_accuracy", "balanced accuracy", "%", 1.0, 100.0, 1)
_MIOU = Headline("miou", "mIoU", "%", 1.0, 100.0, 1)
# In the labels' own unit, which nobody has told.
_ABSOLUTE_ERROR = Headline("absolute_error", "absolute error", "", 0.0, 1.0, 3)
_MEAN_ANGLE = Headline("mean_angle", "mean angle", "°", 0.0, 1.0, 2)

#: All there are, by metric.
HEADLINES = {each.metric: each for each in (_BALANCED_ACCURACY, _MIOU, _ABSOLUTE_ERROR, _MEAN_ANGLE)}


def headline(task: Task) -> Headline | None:
    """The metric that residual learnability is made from, or None where there is no such metric."""
    kinds = (
        (Classification, _BALANCED_ACCURACY),
        (Segmentation, _MIOU),
        (Depth, _ABSOLUTE_ERROR),
        (SurfaceNormals, _MEAN_ANGLE),
    )
    return next((found for kind, found in kinds if isinstance(task, kind)), None)


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
