"""How the learning rate falls in a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from mtlue._checks import check_number

#: Share of the training that is done, in [0, 1) -> share of the learning rate.
Schedule: TypeAlias = Callable[[float], float]


def paper_schedule(done: float) -> float:
    """A tenth of the learning rate after 60 % of the training, a hundredth after 80 % (36 and 48 of 60 epochs, A.2).

    Args:
        done: Share of the training done, in [0, 1).

    Returns:
        Share of the learning rate to use. Any function like it is a ``schedule``.

    Example:
        >>> from mtlue import evaluation
        >>> [round(1e-3 * evaluation.paper_schedule(epoch / 60), 7) for epoch in (0, 35, 36, 47, 48, 59)]
        [0.001, 0.001, 0.0001, 0.0001, 1e-05, 1e-05]
    """
    return 0.1 ** ((done >= 0.6) + (done >= 0.8))


def epoch_rates(schedule: Schedule, epochs: int) -> list[float]:
    """Share of the learning rate in each epoch of a training.

    Raises:
        TypeError: the schedule cannot be called, or returns something else than numbers.
        ValueError: it returns a number below 0, or none that is finite.
    """
    if isinstance(schedule, type) or not callable(schedule):
        raise TypeError(f"schedule: expected a function of the share of the training done, got {schedule!r}")
    return [check_number("schedule", schedule(epoch / epochs)) for epoch in range(epochs)]
