"""An epoch that has begun, from which a killed run can go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from mtlue._data import Batch
from mtlue._fit.checkpoint import Checkpoint, count_in
from mtlue._runtime import RandomState

# Its name in the state of a run. A state without it was kept between two epochs.
_NAME = "started"


class StartedEpoch:
    """How far an epoch has come. A checkpoint keeps it from time to time, with the state of the models.

    When that happens changes nothing in the result, so rank 0 decides it alone.

    Args:
        batch_size: Samples in a batch as they are read in this epoch.
        device: Where the run computes.
        figures: How many figures are added up over the epoch.
    """

    def __init__(self, batch_size: int, device: torch.device, *, figures: int = 0) -> None:
        #: Samples that are done.
        self.done = 0
        #: Stays as it is when memory runs out: parts of the batches that were begun would have other samples.
        self.batch_size = batch_size
        #: Figures of the steps so far, each times its number of samples.
        self.sums = torch.zeros(figures, device=device)
        self._device = device
        self._random: RandomState | None = None
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time that the epoch has taken, in all calls together."""
        return time.monotonic() - self._started

    @property
    def steps(self) -> int:
        """Steps that are done."""
        return -(-self.done // self.batch_size)

    def place(self, after: int, epochs: int) -> str:
        """Describe how far a run has come, after some complete epochs of all of them."""
        return f"epoch {after} of {epochs}" + (f" and {self.done} samples" if self.done else "")

    def take_up(self, state: Mapping[str, Any]) -> None:
        """Go on where a state of a run was kept, if that was in the midst of an epoch.

        Raises:
            ValueError: the state is not one of an epoch.
        """
        if _NAME not in state:
            return
        kept = state[_NAME]
        self.done, self.batch_size = count_in(kept, "done"), count_in(kept, "batch_size", minimum=1)
        sums: Tensor = kept["sums"].to(self._device)
        if sums.shape != self.sums.shape:
            raise ValueError(f"sums has the shape {tuple(sums.shape)}, expected {tuple(self.sums.shape)}")
        self.sums, self._random = sums, RandomState(self._device, kept["random"])
        self._started = time.monotonic() - float(kept["seconds"])

    def followed(
        self, batches: Iterable[Batch], checkpoint: Checkpoint, state: Callable[[], dict[str, Any]]
    ) -> Iterator[Batch]:
        """Yield the batches that are left, with the random numbers that the epoch has come to, and keep its state in between.

        Args:
            batches: The batches that are left. A step on one has ended when the next is asked for.
            checkpoint: Where to keep it.
            state: Gives the rest of the state of the run.
        """
        for batch in batches:
            if self._random is not None:
                self._random.restore()
                self._random = None
            elif checkpoint.due():
                checkpoint.save({**state(), _NAME: self._state()})
            yield batch
            self.done += len(batch)

    def _state(self) -> dict[str, Any]:
        random = RandomState(self._device).state()
        figures = {"done": self.done, "batch_size": self.batch_size, "sums": self.sums, "seconds": self.seconds}
        return {**figures, "random": random}
