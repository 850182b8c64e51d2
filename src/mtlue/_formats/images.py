"""Protected images by index, the sinks that take them as they are made, and images in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor


class Images(Protocol):
    """8-bit images by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Tensor:
        """Return an image, uint8, (C, H, W)."""
        ...


class ImageSink(ABC):
    """Takes protected images in order, batch by batch, and returns them by index.

    Attributes:
        length: Number of images to come.
        batch_size: Samples in a batch. A resumed call keeps its own, because another size could round differently.
        count: Number of images that are safely kept, including those of an interrupted call. Continue there.
    """

    def __init__(self, length: int, batch_size: int) -> None:
        self.length, self.batch_size, self.count = length, batch_size, 0

    @abstractmethod
    def append(self, images: Sequence[Tensor]) -> None:
        """Add the next images, uint8, (C, H, W) each."""

    @abstractmethod
    def finish(self) -> Images:
        """Return the images, once all are there."""

    def close(self) -> None:  # noqa: B027  # memory has nothing open
        """Close what is open. The images that were taken stay."""

    def fill(self, batches: Iterable[Sequence[Tensor]]) -> Images:
        """Add all batches from image `count` on, and finish.

        Args:
            batches: Yields the batches.

        Raises:
            RuntimeError: the batches ended before the last image.
        """
        try:
            for batch in batches:
                self.append(batch)
            if self.count != self.length:
                raise RuntimeError(f"only {self.count} of {self.length} images were made")
            return self.finish()
        finally:
            self.close()


class MemoryImages(ImageSink):
    """Images in memory, as bytes. If all have one shape, they are kept in one tensor."""

    def __init__(self, length: int, *, shape: tuple[int, int, int] | None, batch_size: int) -> None:
        super().__init__(length, batch_size)
        self._same = torch.empty(length, *shape, dtype=torch.uint8) if shape is not None else None
        self._each: list[Tensor] = []

    def append(self, images: Sequence[Tensor]) -> None:
        """Add the next images."""
        for image in images:
            if self._same is None:
                self._each.append(image.cpu().clone())
            else:
                self._same[self.count] = image
            self.count += 1

    def finish(self) -> MemoryImages:
        """Return the images themselves."""
        return self

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        """Return an image, uint8, (C, H, W)."""
        return self._each[index] if self._same is None else self._same[index]
