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
    """Where and how a call computes: checked once, at the verb, and handed on as one value.

    Attributes:
        device: Where tensors are.
        precision: float32, or bfloat16 for autocast.
        num_workers: Processes that read the data set.
        seed: What all random numbers of the call are derived from.
        progress: What the caller sees of it; see `mtlue.fit`.
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
        """What a caller asked for, with the device of a module where none is named.

        Raises:
            TypeError: an argument has the wrong type.
            ValueError: one is out of range, or there is no such device.
        """
        check_progress(progress)
        check_count("num_workers", num_workers, minimum=0)
        check_seed("seed", seed)
        chosen = choose_device(device, module)
        return cls(chosen, choose_precision(precision, chosen), num_workers, seed, progress)

    def autocast(self, *, cache: bool = True) -> AbstractContextManager[None]:
        """A context that computes in the precision; open one for each step."""
        return autocast(self.device, self.precision, cache=cache)

    def seed_of(self, stream: Stream, *path: int) -> int:
        """The seed of one part of the call."""
        return derived_seed(self.seed, stream, *path)

    def random_numbers(self, stream: Stream, *path: int) -> AbstractContextManager[None]:
        """A context in which the global random numbers are those of one part of the call."""
        return random_numbers(self.seed_of(stream, *path), self.device)

    def generator(self, stream: Stream, *path: int) -> torch.Generator:
        """A source of random numbers, on the processor, for one part of the call."""
        return torch.Generator().manual_seed(self.seed_of(stream, *path))

    def settings(self) -> dict[str, Any]:
        """What of it determines a result, as JSON can hold it."""
        return {"seed": self.seed, "precision": str(self.precision)}
