"""One sample of a user's data set: what goes wrong while it is read is told with its number."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from mtlue._checks import naming
from mtlue._data.images import read_image
from mtlue._runtime import out_of_memory


def item_problem(item: object) -> str | None:
    """What is wrong with the form of a sample, or None."""
    if isinstance(item, tuple | list) and len(item) == 2:
        return None
    length = f" of length {len(item)}" if isinstance(item, tuple | list | dict) else ""
    several = isinstance(item, tuple | list) and len(item) > 2
    cure = "; several labels go into a dict or tuple of their own" if several else ""
    return f"expected a pair (image, targets), got {type(item).__name__}{length}{cure}"


def read_item(dataset: Dataset[Any], index: int) -> tuple[Any, Any]:
    """Image and targets of a sample as the data set gives them.

    Raises:
        ValueError: the data set raises an error, which is the cause of this one, or the sample is no pair.
        MemoryError: there is no memory for the sample.
    """
    try:
        item = dataset[index]
    # Also StopIteration: passed on, it would end a loop over batches as if all samples had been read.
    except Exception as error:
        if out_of_memory(error):
            raise
        raise ValueError(f"dataset: sample {index} cannot be read: {type(error).__name__}: {error}") from error
    problem = item_problem(item)
    if problem is not None:
        raise ValueError(f"dataset: sample {index}: {problem}")
    return item[0], item[1]


def read_sample(dataset: Dataset[Any], index: int) -> tuple[Tensor, Any]:
    """Image of a sample as `read_image` gives it, and its targets as the data set gives them.

    Raises:
        TypeError: the image is nothing that is one.
        ValueError: the sample cannot be read, or its image has the wrong shape.
    """
    image, targets = read_item(dataset, index)
    with naming(f"dataset: sample {index}: image"):
        return read_image(image), targets
