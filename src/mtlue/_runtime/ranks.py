"""The processes of a job under ``torchrun``: which one this is, and how many there are."""

from __future__ import annotations

import torch


def in_group() -> bool:
    """Return whether a process group is initialised: by ``torch.distributed``, Accelerate or Lightning Fabric alike."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def rank() -> int:
    """Return the number of this process in its group, from 0. A process without a group is number 0."""
    return torch.distributed.get_rank() if in_group() else 0


def world_size() -> int:
    """Return the number of processes in the group. A process without a group is alone."""
    return torch.distributed.get_world_size() if in_group() else 1


def is_main() -> bool:
    """Return whether this is the process that writes files and shows progress."""
    return rank() == 0
