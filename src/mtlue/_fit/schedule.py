"""How the learning rate falls in a training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

from mtlue._checks import check_arity, check_number
from mtlue._runtime import checksum, described, text_digest

#: Share of the training that is done, in [0, 1) -> share of the learning rate.
Schedule: TypeAlias = Callable[[float], float]

# Share of a training in which the rate rises, and where it begins.
_RISE, _FIRST = 0.3, 0.04
# How many values of a schedule are looked at.
_MOMENTS = 60


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


def one_cycle(done: float) -> float:
    """Up to the whole learning rate in the first third of the training, then down to nothing, along cosines.

    After "Super-convergence" (Smith and Topin, 2018). What `mtlue.RestartedEM` is trained with.

    Args:
        done: Share of the training done, in [0, 1).

    Returns:
        Share of the learning rate to use.

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
    """A schedule's values along a training, by which it is known.

    Raises:
        TypeError: the schedule cannot be called, or returns something else than numbers.
        ValueError: it returns a number below 0, or one that is not finite, or 0 throughout.
    """
    if isinstance(schedule, type) or not callable(schedule):
        raise TypeError(f"schedule: expected a function of the share of the training done, got {schedule!r}")
    check_arity("schedule", schedule, "done")
    shares = [check_number("schedule", schedule(moment / _MOMENTS)) for moment in range(_MOMENTS)]
    if not any(shares):
        raise ValueError("schedule: expected a share above 0 at some moment, got 0 throughout, with which nothing is learned")
    return shares


def described_schedule(schedule: Schedule) -> str:
    """What a schedule is known by: its name, and a checksum of its values, since two functions may have one name."""
    rates = checksum(text_digest(repr(check_schedule(schedule)))).partition(":")[2]
    return f"{described(schedule)}, checksum {rates}"
