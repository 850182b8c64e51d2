"""Read the samples of a user's data set one by one. Errors name the sample."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mtlue._checks import naming
from mtlue._data.images import image_problem, read_image
from mtlue._runtime import out_of_memory

_Sample = TypeVar("_Sample")


def each_batch(dataset: Dataset[Any], *, num_workers: int, indices: Sequence[int] | None = None) -> Iterator[Any]:
    """Return what the ``__getitems__`` of a data set gives for batches in order, read by the given number of processes.

    Args:
        dataset: The data set.
        num_workers: Processes that read it.
        indices: The samples to read. None for all of them.
    """
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_size=64,
        sampler=cast("Sampler[int] | None", indices),
        num_workers=num_workers,
        collate_fn=as_gathered,
        # A generator of its own, because the loader would otherwise draw from the caller's.
        generator=torch.Generator(),
    )
    return iter(loader)


def as_gathered(batch: Any) -> Any:
    """What a `DataLoader` is to make of a batch that its data set gives whole."""
    return batch


def item_problem(item: object) -> str | None:
    """Describe what is wrong with the form of a sample, or return None."""
    if isinstance(item, tuple | list) and len(item) == 2:
        return None
    length = f" of length {len(item)}" if isinstance(item, tuple | list | dict) else ""
    several = isinstance(item, tuple | list) and len(item) > 2
    cure = "; several labels go into a dict or tuple of their own" if several else ""
    return f"expected a pair (image, targets), got {type(item).__name__}{length}{cure}"


def checked_sample(item: object) -> tuple[Tensor, Any]:
    """Return image and targets of a sample that nobody has inspected.

    Raises:
        TypeError: the image has a type that cannot be read.
        ValueError: it is not a pair, or its image has the wrong shape or values.
    """
    problem = item_problem(item)
    if problem is not None:
        raise ValueError(problem)
    image, targets = cast("tuple[object, Any]", item)
    return checked_image(image), targets


def checked_image(image: object) -> Tensor:
    """Return an image as `read_image` does, with its values checked.

    Raises:
        TypeError: it has a type that cannot be read.
        ValueError: it has the wrong shape or values.
    """
    read = read_image(image)
    problem = image_problem(read)
    if problem is not None:
        raise ValueError(problem)
    return read


def read_item(dataset: Dataset[Any], index: int) -> tuple[Any, Any]:
    """Return image and targets of a sample as the data set gives them.

    Raises:
        ValueError: the data set raises an error, which becomes the cause of this one, or the sample is not a pair.
        MemoryError: the sample does not fit into memory.
    """
    try:
        item = dataset[index]
    # StopIteration too: if passed on, it would end a loop over batches as if all samples had been read.
    except Exception as error:
        if out_of_memory(error):
            raise
        raise ValueError(f"dataset: sample {index} cannot be read: {type(error).__name__}: {error}") from error
    problem = item_problem(item)
    if problem is not None:
        raise ValueError(f"dataset: sample {index}: {problem}")
    return item[0], item[1]


def read_sample(dataset: Dataset[Any], index: int) -> tuple[Tensor, Any]:
    """Return the image of a sample as `read_image` returns it, and its targets as the data set gives them.

    Raises:
        TypeError: the image has a type that cannot be read.
        ValueError: the sample cannot be read, or its image has the wrong shape.
    """
    image, targets = read_item(dataset, index)
    with naming(f"dataset: sample {index}: image"):
        return read_image(image), targets
