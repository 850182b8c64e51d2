"""Samples of a data set that a defence reads as a whole: their images are checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from mtlue._data import Samples, check_map_style, image_problem
from mtlue._tasks import Task


class CheckedSamples(Samples):
    """As `mtlue._data.Samples`, but an image that is out of range is refused, and one that cannot be stacked with others.

    Args:
        dataset: Map-style, of pairs of an image and its targets.
        tasks: What the targets are.
        size: Height and width that images will be resized to; None where they are to have one size already.
        argument: Name of the data set in messages.
    """

    def __init__(
        self, dataset: Dataset[Any], tasks: Mapping[str, Task], *, size: tuple[int, int] | None, argument: str
    ) -> None:
        super().__init__(dataset, tasks, size=size)
        self.argument = argument
        self._shape: tuple[int, ...] | None = None

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        """Image and targets of one sample.

        Raises:
            ValueError: the image is out of [0, 1], or has not the channels, or the size, of the one that was read first.
        """
        image, targets = super().__getitem__(index)
        problem = image_problem(image)
        if problem is not None:
            raise ValueError(f"{self.argument}: sample {index}: {problem}")
        shape = tuple(image.shape) if self.size is None else (image.shape[0], *self.size)
        if self._shape is None:
            self._shape = shape
        if shape != self._shape:
            raise ValueError(
                f"{self.argument}: sample {index}: image of shape {shape}, others have {self._shape}; expected images of one "
                "size, or an image_size to resize them to"
            )
        return image, targets


def check_samples(argument: str, dataset: object) -> Dataset[Any]:
    """Return a data set that has a length, an index and a sample.

    Raises:
        TypeError: it has no length, or cannot be indexed.
        ValueError: it is empty.
    """
    try:
        return check_map_style(dataset)
    except (TypeError, ValueError) as error:
        raise type(error)(str(error).replace("dataset", argument, 1)) from None
