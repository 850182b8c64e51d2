"""What the training of a generator reads in each of its epochs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import singledispatch
from itertools import chain, count, islice
from typing import Protocol

import torch

from mtlue._data.batches import Batch, Samples, ordered_batches
from mtlue._runtime import Compute, Stream


class Epochs(Protocol):
    """The epochs of a training."""

    @property
    def length(self) -> int:
        """Samples in an epoch."""
        ...

    def batches(self, epoch: int, *, batch_size: int, done: int = 0) -> Iterator[Batch]:
        """Yield the samples of an epoch, except the first ``done``, on the device."""
        ...

    def drawn(self, epoch: int, order: Sequence[int], *, batch_size: int) -> Iterator[Batch]:
        """Yield samples for the surrogate's turn after an epoch: those of ``order``, if samples have numbers."""
        ...


@singledispatch
def epochs_of(samples: Samples, compute: Compute, *, steps: int | None, batch_size: int, turn: int) -> Epochs:
    """Return the epochs of a training.

    Args:
        samples: The data set.
        compute: Where to compute, and the seed of the order.
        steps: Batches in an epoch. None for all samples, each once.
        batch_size: Samples in a batch.
        turn: Samples that the surrogate takes after each epoch.
    """
    return _Passes(samples, compute, length=len(samples) if steps is None else steps * batch_size)


class _Passes:
    """Epochs of a map-style set. They cut passes over the samples, each in an order of its own, into equal pieces."""

    def __init__(self, samples: Samples, compute: Compute, *, length: int) -> None:
        self.length = length
        self._samples, self._compute = samples, compute

    def batches(self, epoch: int, *, batch_size: int, done: int = 0) -> Iterator[Batch]:
        first, skipped = divmod(epoch * self.length, len(self._samples))
        passes = chain.from_iterable(map(self._order, count(first)))
        order = list(islice(passes, skipped + done, skipped + self.length))
        seed = self._compute.seed_of(Stream.GENERATOR, epoch)
        return ordered_batches(self._samples, order, batch_size=batch_size, compute=self._compute, seed=seed)

    def drawn(self, epoch: int, order: Sequence[int], *, batch_size: int) -> Iterator[Batch]:
        return ordered_batches(self._samples, order, batch_size=batch_size, compute=self._compute)

    def _order(self, number: int) -> list[int]:
        random = self._compute.generator(Stream.GENERATOR, number)
        return torch.randperm(len(self._samples), generator=random).tolist()
