"""What a victim reached at one task."""

from __future__ import annotations

from dataclasses import dataclass

#: The sets that victims are trained on.
CLEAN, NOISE, PROTECTED = "clean", "random noise", "protected"
MULTI, SINGLE = "multi-task", "single-task"
NO_DEFENSE = "none"


@dataclass(frozen=True)
class Measurement:
    """What one victim reached at one task.

    Attributes:
        data: What the victim was trained on: ``"clean"``, ``"random noise"`` or ``"protected"``.
        victim: ``"multi-task"`` or ``"single-task"``.
        defense: The victim's defence, or ``"none"``.
        task: The task.
        seed: Seed of the training.
        last: Metrics on clean test images after the last epoch.
        best: The same after the epoch with the best headline metrics, which somebody with clean test images would choose.
        best_epoch: The number of that epoch, from 1.

    Example:
        >>> import mtlue
        >>> from mtlue.evaluation import Measurement, Report
        >>> values = {"accuracy": 0.62, "balanced_accuracy": 0.55}
        >>> found = Measurement("protected", "multi-task", "none", "gender", 0, values, values, best_epoch=3)
        >>> # A report as evaluation.audit makes it.
        >>> report = Report({"gender": mtlue.Classification(2)}, 8 / 255, [found])
        >>> {each.task: each.last["accuracy"] for each in report.measurements if each.data == "protected"}
        {'gender': 0.62}
    """

    data: str
    victim: str
    defense: str
    task: str
    seed: int
    last: dict[str, float]
    best: dict[str, float]
    best_epoch: int
