"""The processes of a job under ``torchrun``: which one this is, and how many there are."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

_apart: list[bool] = []


@contextmanager
def apart() -> Iterator[None]:
    """Compute in this context like a process without a group: what several ranks do at once, each for itself."""
    _apart.append(True)
    try:
        yield
    finally:
        _apart.pop()


def in_group() -> bool:
    """Return whether a process group is initialised: by ``torch.distributed``, Accelerate or Lightning Fabric alike."""
    return not _apart and torch.distributed.is_available() and torch.distributed.is_initialized()


def rank() -> int:
    """Return the number of this process in its group, from 0. A process without a group is number 0."""
    return torch.distributed.get_rank() if in_group() else 0


def world_size() -> int:
    """Return the number of processes in the group. A process without a group is alone."""
    return torch.distributed.get_world_size() if in_group() else 1


def is_main() -> bool:
    """Return whether this is the process that writes files and shows progress."""
    return rank() == 0


class Ranks(NamedTuple):
    """Which process this is of how many that share out work without talking to each other. By default it is alone."""

    rank: int = 0
    size: int = 1


ALONE = Ranks()


def launched() -> Ranks:
    """Return the ranks of the process group, or else those that ``torchrun`` started, with or without a group."""
    if not _apart and not in_group() and torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        return Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]))
    return Ranks(rank(), world_size())
