"""A call that all processes of a group make together, and how it ends if one of them fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from mtlue._runtime.job import PATIENCE, Job, LostRankError
from mtlue._runtime.ranks import in_group, world_size

_current: list[Job] = []
# How many there were counts on each rank.
_opened: list[Job] = []


def current_job() -> Job | None:
    """Return the call that all ranks are making together, or None, also where this one works apart from the others."""
    return _current[-1] if _current and in_group() else None


@contextmanager
def together(device: torch.device, *, patience: float = PATIENCE) -> Iterator[None]:
    """Make a call together with all ranks of the process group. Without a group of several ranks this does nothing.

    If one rank fails in this context, the others fail too, with its reason. Only rank 0 logs what it does.

    Args:
        device: Where this rank computes.
        patience: Seconds that a rank waits for a message of another one that still works.

    Yields:
        Nothing.
    """
    if world_size() == 1 or current_job() is not None:
        yield
        return
    job = Job(len(_opened), device, patience=patience)
    job.open()
    # All have come: it counts on each, also if one is lost from here on.
    _opened.append(job)
    job.connect()
    with joined(job):
        yield


@contextmanager
def joined(job: Job) -> Iterator[None]:
    """Take part in a call of all ranks in this context.

    Raises:
        LostRankError: another rank has failed.
    """
    done = False
    _current.append(job)
    try:
        with _quiet() if job.rank else nullcontext():
            yield
        done = True
    except LostRankError:
        raise
    except BaseException as error:
        job.tell(error)
        raise
    finally:
        _current.remove(job)
        job.close(wait=done)


@contextmanager
def _quiet() -> Iterator[None]:
    """Log only warnings in this context."""
    logger = logging.getLogger("mtlue")
    before = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(before)


def from_rank(source: int, make: Callable[[], Any]) -> Any:
    """Return what a function gives on one rank of a call together; outside one, what it gives here."""
    job = current_job()
    return make() if job is None else job.from_rank(source, make)


def smallest(value: int) -> int:
    """Return the smallest value of the ranks of a call together; outside one, the value itself."""
    job = current_job()
    return value if job is None else job.smallest(value)
