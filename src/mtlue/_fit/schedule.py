"""Schedules of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from mtlue._checks import check_arity, check_number
from mtlue._runtime import checksum, described, text_digest

#: A function from the share of the training that is done, in [0, 1), to a factor for the learning rate.
Schedule: TypeAlias = Callable[[float], float]

# The share of a training in which the rate rises, and the rate at its start.
_RISE, _FIRST = 0.3, 0.04
# How many values of a schedule are checked.
_MOMENTS = 60


def paper_schedule(done: float) -> float:
    """Divide the learning rate by ten after 60 % and again after 80 % of the training (36 and 48 of 60 epochs, A.2).

    Args:
        done: Share of the training that is done, in [0, 1).

    Returns:
        The factor for the learning rate. Any function like this is a ``schedule``.

    Example:
        >>> from mtlue import evaluation
        >>> [round(1e-3 * evaluation.paper_schedule(epoch / 60), 7) for epoch in (0, 35, 36, 47, 48, 59)]
        [0.001, 0.001, 0.0001, 0.0001, 1e-05, 1e-05]
    """
    return 0.1 ** ((done >= 0.6) + (done >= 0.8))


def one_cycle(done: float) -> float:
    """Raise the learning rate to its full value in the first third of the training, then lower it to zero, along cosines.

    `mtlue.RestartedEM` uses it. From "Super-convergence" (Smith and Topin, 2018).

    Args:
        done: Share of the training that is done, in [0, 1).

    Returns:
        The factor for the learning rate.

    Example:
        >>> from mtlue import evaluation
        >>> [round(evaluation.one_cycle(step / 20), 2) for step in (0, 1, 2, 11, 19)]
        [0.04, 0.1, 0.28, 0.72, 0.01]
    """
    if done < _RISE:
        return _FIRST + (1 - _FIRST) * _half_wave(done / _RISE)
    return 1 - _half_wave((done - _RISE) / (1 - _RISE))


def _half_wave(share: float) -> float:
    return 0.5 * (1 - math.cos(math.pi * share))


def check_schedule(schedule: Schedule) -> list[float]:
    """Return the values of a schedule along a training, which identify it.

    Raises:
        TypeError: the schedule cannot be called, or does not return numbers.
        ValueError: it returns a negative number, or one that is not finite, or 0 throughout.
    """
    if isinstance(schedule, type) or not callable(schedule):
        raise TypeError(f"schedule: expected a function of the share of the training done, got {schedule!r}")
    check_arity("schedule", schedule, "done")
    shares = [check_number("schedule", schedule(moment / _MOMENTS)) for moment in range(_MOMENTS)]
    if not any(shares):
        raise ValueError("schedule: expected a factor above 0 at some moment, got 0 throughout; nothing would be learned")
    return shares


def described_schedule(schedule: Schedule) -> str:
    """Describe a schedule by its name and a checksum of its values, because two functions may share a name."""
    rates = checksum(text_digest(repr(check_schedule(schedule)))).partition(":")[2]
    return f"{described(schedule)}, checksum {rates}"
