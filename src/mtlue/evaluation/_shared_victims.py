"""The victims of an audit on several ranks: each trains a part of them, and learns what the others have reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mtlue._runtime import apart, current_job, from_rank
from mtlue.evaluation._measurement import Measurement
from mtlue.evaluation._trainings import Training

#: Seconds that a rank waits for another one that still trains its victims: a month.
PATIENCE = 30 * 24 * 3600.0

#: What each victim has reached; nothing if it has not been trained.
Found = dict[Training, list[Measurement]]


def known_victims(trainings: Sequence[Training], of: Callable[[Training], list[Measurement]]) -> Found:
    """Return what the victims have reached that are trained already, as the first rank finds them.

    Args:
        trainings: All victims.
        of: Finds what one of them has reached.
    """

    def look() -> list[list[dict[str, Any]]]:
        with apart():
            return _packed(map(of, trainings))

    return _unpacked(trainings, from_rank(0, look))


def own_victims(trainings: Sequence[Training]) -> Sequence[Training]:
    """Return those of some victims that this rank trains."""
    job = current_job()
    return trainings if job is None else trainings[job.rank :: job.size]


def victims_of_all(found: Mapping[Training, list[Measurement]]) -> Found:
    """Return what the victims have reached that this rank and all others have trained."""
    job = current_job()
    if job is None:
        return dict(found)
    by_rank = [_unpacked(list(found), each) for each in job.gathered(_packed(found.values()))]
    return {training: next(filter(None, (each[training] for each in by_rank)), []) for training in found}


def _packed(found: Iterable[list[Measurement]]) -> list[list[dict[str, Any]]]:
    return [[asdict(each) for each in several] for several in found]


def _unpacked(trainings: Sequence[Training], packed: Sequence[Sequence[dict[str, Any]]]) -> Found:
    return {training: [Measurement(**each) for each in several] for training, several in zip(trainings, packed, strict=True)}
