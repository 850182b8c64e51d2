"""Where and how a call computes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from mtlue._checks import check_count, check_seed
from mtlue._runtime.device import autocast, choose_device, choose_precision
from mtlue._runtime.progress import ProgressOption, check_progress
from mtlue._runtime.seeds import Stream, derived_seed, random_numbers


@dataclass(frozen=True)
class Compute:
    """Where and how a call computes. It is checked once, in the public function, and passed on as one value.

    Attributes:
        device: The device of all tensors.
        precision: float32, or bfloat16 for autocast.
        num_workers: Processes that read the data set.
        seed: The seed from which all random numbers of the call are derived.
        progress: How the caller sees the progress; see `mtlue.fit`.
    """

    device: torch.device
    precision: torch.dtype = torch.float32
    num_workers: int = 0
    seed: int = 0
    progress: ProgressOption = False

    @classmethod
    def checked(
        cls,
        *,
        device: torch.device | str | None,
        module: nn.Module | None = None,
        precision: torch.dtype | None = None,
        num_workers: int = 0,
        seed: int = 0,
        progress: ProgressOption = False,
    ) -> Compute:
        """Check what a caller asked for. Without a device, a module's device is used.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: an argument is out of range, or the device does not exist.
        """
        check_progress(progress)
        check_count("num_workers", num_workers, minimum=0)
        check_seed("seed", seed)
        chosen = choose_device(device, module)
        return cls(chosen, choose_precision(precision, chosen), num_workers, seed, progress)

    def autocast(self, *, cache: bool = True) -> AbstractContextManager[None]:
        """Return a context that computes in the precision. Open one for each step."""
        return autocast(self.device, self.precision, cache=cache)

    def seed_of(self, stream: Stream, *path: int) -> int:
        """Return the seed for one part of the call."""
        return derived_seed(self.seed, stream, *path)

    def random_numbers(self, stream: Stream, *path: int) -> AbstractContextManager[None]:
        """Return a context in which the global random numbers are those of one part of the call."""
        return random_numbers(self.seed_of(stream, *path), self.device)

    def generator(self, stream: Stream, *path: int) -> torch.Generator:
        """Return a generator of random numbers, on the CPU, for one part of the call."""
        return torch.Generator().manual_seed(self.seed_of(stream, *path))

    def settings(self) -> dict[str, Any]:
        """Return the part that determines a result, in a form that JSON can hold."""
        return {"seed": self.seed, "precision": str(self.precision)}
