"""Data sets without a length: samples that come in an order of their own."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from mtlue._checks import check_count, naming
from mtlue._data.batches import Batch, Samples, shared
from mtlue._data.epochs import epochs_of
from mtlue._data.findings import Inspection
from mtlue._data.inspection import check_map_style, inspect_dataset
from mtlue._data.reading import as_gathered, checked_sample
from mtlue._runtime import Compute, out_of_memory
from mtlue._tasks import Task

#: Samples at the beginning of a stream that are inspected, and kept in memory.
FIRST_SAMPLES = 512

logger = logging.getLogger("mtlue.fit")


def is_stream(dataset: object) -> bool:
    """Return whether a data set gives its samples in its own order, and can do so again from the start."""
    if isinstance(dataset, DataLoader):
        return dataset.batch_size is None
    endless = isinstance(dataset, Iterable) and not hasattr(dataset, "__len__") and not isinstance(dataset, Iterator)
    return endless or isinstance(dataset, IterableDataset)


def check_source(dataset: Dataset[Any], steps_per_epoch: int | None) -> None:
    """Check that a data set can be read in epochs.

    Raises:
        TypeError: it is a stream without ``steps_per_epoch``, or neither a stream nor map-style.
        ValueError: it is empty, or ``steps_per_epoch`` is not positive.
    """
    if steps_per_epoch is not None:
        check_count("steps_per_epoch", steps_per_epoch, minimum=1)
    if steps_per_epoch is not None and is_stream(dataset):
        return
    try:
        check_map_style("dataset", dataset)
    except TypeError as error:
        if is_stream(dataset):
            raise TypeError(f"{error}, or give steps_per_epoch=, the number of batches in an epoch") from None
        raise


def inspected(
    dataset: Dataset[Any], tasks: Mapping[str, Task], image_shape: tuple[int, int, int], *, num_workers: int
) -> tuple[Inspection, Samples]:
    """Return what an inspection finds, and the samples; of a stream only the first are inspected.

    Args:
        dataset: A data set that `check_source` has not refused.
        tasks: Its tasks.
        image_shape: Shape of the images at which a model works.
        num_workers: Processes that read a map-style set.

    Raises:
        ValueError: samples cannot be used, or a stream is empty or fails.
    """
    if not is_stream(dataset):
        found = inspect_dataset(dataset, tasks, num_workers=num_workers)
        return found, Samples(dataset, tasks, size=found.size_for(image_shape))
    first: Any = [item for _, item in islice(_one_pass(dataset), FIRST_SAMPLES)]
    logger.info("dataset: a stream; its first %d samples are inspected now, the others when they are read", len(first))
    found = inspect_dataset(first, tasks, reread=False)
    return found, StreamSamples(dataset, first, tasks, size=found.size_for(image_shape))


class StreamSamples(Samples):
    """The samples of a stream. By index it has those with which the stream begins.

    Args:
        stream: Gives the samples.
        first: Those with which it begins, which have been inspected.
        tasks: Its tasks.
        size: As in `Samples`.
    """

    def __init__(
        self, stream: Dataset[Any], first: Dataset[Any], tasks: Mapping[str, Task], *, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(first, tasks, size=size)
        self.stream = stream
        self._shape = tuple(self[0][0].shape)

    @property
    def extent(self) -> int:
        """More than any batch takes."""
        return sys.maxsize

    def streamed(self, items: Sequence[tuple[int, Any]]) -> Batch:
        """Return a batch of samples that have just come, each with its position.

        Raises:
            TypeError: an image or a label has a type that cannot be read.
            ValueError: a sample cannot be used.
        """
        samples: list[tuple[Tensor, Any]] = []
        for position, item in items:
            with naming(f"dataset: sample {position}"):
                image, targets = checked_sample(item)
                self.check_shape(image, self._shape, of=0)
            samples.append((image, targets))
        return self.gathered([position for position, _ in items], samples)


class _StreamedEpochs:
    """Epochs of a stream, which goes on where the last epoch has ended, and starts anew at its end.

    Args:
        samples: The samples.
        compute: Where to compute. With workers, one process reads ahead.
        length: Samples in an epoch.
        batch_size: Samples in a batch; a smaller one is cut from it.
        turn: Samples that the surrogate takes after each epoch.
    """

    def __init__(self, samples: StreamSamples, compute: Compute, *, length: int, batch_size: int, turn: int) -> None:
        self.length = length
        self._samples, self._compute, self._batch_size, self._turn = samples, compute, batch_size, turn
        self._position = 0
        self._batches: Iterator[Batch] | None = None

    def batches(self, epoch: int, *, batch_size: int, done: int = 0) -> Iterator[Batch]:
        """Yield the samples of an epoch, except the first ``done``, on the device."""
        return self._from(epoch * (self.length + self._turn) + done, self.length - done)

    def drawn(self, epoch: int, order: Sequence[int], *, batch_size: int) -> Iterator[Batch]:
        """Yield as many samples as there are in ``order``: those that come after an epoch."""
        return self._from(epoch * (self.length + self._turn) + self.length, len(order))

    def _from(self, start: int, count: int) -> Iterator[Batch]:
        """Yield samples from a position on, counted from the start of the training."""
        if self._batches is None:
            self._position = start
            reader = _Reader(self._samples, start, batch_size=self._batch_size)
            self._batches = iter(
                DataLoader(
                    reader,
                    batch_size=None,
                    # A second process would read the whole stream a second time.
                    num_workers=min(1, self._compute.num_workers),
                    collate_fn=as_gathered,
                    pin_memory=self._compute.device.type == "cuda",
                    # A generator of its own, because the loader would otherwise draw from the caller's.
                    generator=torch.Generator().manual_seed(self._compute.seed),
                )
            )
        while self._position < start + count:
            batch = next(self._batches)
            self._position += len(batch)
            # A surrogate that takes smaller batches after a lack of memory leaves some of its samples.
            if self._position > start:
                yield shared(batch.to(self._compute.device))


@epochs_of.register
def _(samples: StreamSamples, compute: Compute, *, steps: int, batch_size: int, turn: int) -> _StreamedEpochs:
    return _StreamedEpochs(samples, compute, length=steps * batch_size, batch_size=batch_size, turn=turn)


class _Reader(IterableDataset[Batch]):
    """Reads batches without end. Epochs and turns of the surrogate are whole batches."""

    def __init__(self, samples: StreamSamples, start: int, *, batch_size: int) -> None:
        self.samples, self.start, self.batch_size = samples, start, batch_size

    def __iter__(self) -> Iterator[Batch]:
        if self.start:
            logger.info("dataset: skipping %d samples of the stream, which have been read before", self.start)
        items = islice(_endless(self.samples.stream), self.start, None)
        while True:
            yield self.samples.streamed(list(islice(items, self.batch_size)))


def _endless(stream: Dataset[Any]) -> Iterator[tuple[int, Any]]:
    while True:
        yield from _one_pass(stream)


def _one_pass(stream: Any) -> Iterator[tuple[int, Any]]:
    """Yield the samples of a stream from its start, each with its position.

    Raises:
        ValueError: it fails, or gives none.
        MemoryError: a sample does not fit into memory.
    """
    position = 0
    try:
        for item in stream:
            yield position, item
            position += 1
    except Exception as error:
        if out_of_memory(error):
            raise
        raise ValueError(f"dataset: sample {position} cannot be read: {type(error).__name__}: {error}") from error
    if not position:
        raise ValueError(
            "dataset: expected samples from the stream, got none; give one that starts anew whenever it is iterated over"
        )
