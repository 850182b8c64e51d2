"""Protected images by index, what takes them while they are made, and those in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor


class Images(Protocol):
    """Images of 8 bits by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Tensor:
        """One image, uint8, (C, H, W)."""
        ...


class ImageSink(ABC):
    """Takes protected images in order, batch by batch, and gives them back by index.

    Attributes:
        length: Images that there will be.
        batch_size: Samples a batch: that of an interrupted call which is taken up again, since another could round differently.
        count: Images that are safely kept, those of that call among them. What makes the images starts there.
    """

    def __init__(self, length: int, batch_size: int) -> None:
        self.length, self.batch_size, self.count = length, batch_size, 0

    @abstractmethod
    def append(self, images: Sequence[Tensor]) -> None:
        """Take the next images, uint8, (C, H, W) each."""

    @abstractmethod
    def finish(self) -> Images:
        """The images, once all are there."""

    def close(self) -> None:  # noqa: B027  # memory has nothing open
        """Let go of what is open; what was taken stays."""

    def fill(self, batches: Iterable[Sequence[Tensor]]) -> Images:
        """Take all batches from image `count` on, and finish.

        Args:
            batches: Makes them.

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
    """Images in memory, as bytes: in one tensor when all have one shape."""

    def __init__(self, length: int, *, shape: tuple[int, int, int] | None, batch_size: int) -> None:
        super().__init__(length, batch_size)
        self._same = torch.empty(length, *shape, dtype=torch.uint8) if shape is not None else None
        self._each: list[Tensor] = []

    def append(self, images: Sequence[Tensor]) -> None:
        """Take the next images."""
        for image in images:
            if self._same is None:
                self._each.append(image.cpu().clone())
            else:
                self._same[self.count] = image
            self.count += 1

    def finish(self) -> MemoryImages:
        """Themselves."""
        return self

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> Tensor:
        """One image, uint8, (C, H, W)."""
        return self._each[index] if self._same is None else self._same[index]
