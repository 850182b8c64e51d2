"""Random numbers of a run. Each part of a run has its own stream."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import IntEnum, unique
from typing import Any

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
        state: What `state` of an earlier one returned, or None for the state now.

    Raises:
        ValueError: random numbers cannot be in such a state.
    """

    def __init__(self, device: torch.device, state: Mapping[str, Any] | None = None) -> None:
        self._device = device
        self._state = dict(state) if state is not None else _random_state(device)
        if state is not None:
            # Numbers of nobody else tell whether it can be restored.
            random.Random().setstate(self._state["python"])
            torch.Generator().set_state(self._state["cpu"])

    def restore(self) -> None:
        """Restore the state."""
        random.setstate(self._state["python"])
        torch.set_rng_state(self._state["cpu"])
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(self._state["device"], self._device)
        if self._device.type == "mps":
            torch.mps.set_rng_state(self._state["device"])

    def state(self) -> dict[str, Any]:
        """Return the state as tensors and plain values."""
        return dict(self._state)


def _random_state(device: torch.device) -> dict[str, Any]:
    own = None
    if device.type == "cuda":
        own = torch.cuda.get_rng_state(device)
    if device.type == "mps":
        own = torch.mps.get_rng_state()
    return {"python": random.getstate(), "cpu": torch.get_rng_state(), "device": own}


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
