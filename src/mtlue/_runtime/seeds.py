"""Random numbers of a run. Each part of a run has its own stream."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum, unique

import torch


@unique
class Stream(IntEnum):
    """Purposes of random numbers. A new part of a run gets a new number; numbers in use never change."""

    GENERATOR = 0
    SURROGATE = 1
    ACCURACY_SAMPLE = 2
    PROBE = 3
    PRETRAINING = 4
    MODELS = 5
    FRACTION = 6
    PIXEL_SEARCH = 7
    VICTIM = 8
    VICTIM_EPOCH = 9
    MODEL_WEIGHTS = 10
    NOISE = 11
    PATTERNS = 12
    REHEARSAL = 13
    PIXEL_SURROGATE = 14
    DEFENSE = 15
    CHECK = 16
    ATTEMPT = 17
    MIRRORING = 18
    FINGERPRINT = 19


def derived_seed(seed: int, *path: int) -> int:
    """Derive a seed for one part of a run, different from that of any other part (splitmix64)."""
    state = seed & 0xFFFFFFFFFFFFFFFF
    for step in path:
        state = (state + 0x9E3779B97F4A7C15 * (step + 1)) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state >> 1


class RandomState:
    """The state of the global random numbers of Python, of torch and of a device, which can be restored.

    Args:
        device: The device whose random numbers to keep besides those of the CPU.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._python = random.getstate()
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
        self._mps = torch.mps.get_rng_state() if device.type == "mps" else None

    def restore(self) -> None:
        """Restore the state."""
        random.setstate(self._python)
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)
        if self._mps is not None:
            torch.mps.set_rng_state(self._mps)


@contextmanager
def random_numbers(seed: int, device: torch.device) -> Iterator[None]:
    """Draw the global random numbers from a seed in this context.

    Dropout, initial weights and torchvision's transforms know no other source. The caller's state is restored.
    """
    before = RandomState(device)
    try:
        random.seed(seed)
        torch.set_rng_state(torch.Generator().manual_seed(seed).get_state())
        if device.type == "cuda":
            torch.cuda.set_rng_state(torch.Generator(device).manual_seed(seed).get_state(), device)
        if device.type == "mps":
            torch.mps.set_rng_state(torch.Generator("mps").manual_seed(seed).get_state())
        yield
    finally:
        before.restore()
