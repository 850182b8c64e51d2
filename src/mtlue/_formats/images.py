"""Protected images by index, the sinks that take them as they are made, and images in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor


class Images(Protocol):
    """8-bit images by index."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Tensor:
        """Return an image, uint8, (C, H, W)."""
        ...


@dataclass(frozen=True)
class Portion:
    """Images that this process is to make.

    Attributes:
        indices: Their indices, each to be read once. Cut into batches in order, all batches are whole but the last of the set.
        done: Number of images of this portion that an interrupted call has left. Without ranks they are the first of the set.
        total: Number of images of this portion, with those.
    """

    indices: Iterator[int]
    done: int
    total: int


#: Yields the images of a portion, batch by batch.
Maker: TypeAlias = Callable[[Portion], Generator[Sequence[Tensor], None, None]]


class ImageSink(ABC):
    """Takes protected images batch by batch, and returns them by index.

    Attributes:
        length: Number of images of the set.
        batch_size: Samples in a batch. A resumed call keeps its own, because another size could round differently.
        count: Number of images that are kept, including those of an interrupted call.
    """

    def __init__(self, length: int, batch_size: int) -> None:
        self.length, self.batch_size, self.count = length, batch_size, 0

    @abstractmethod
    def portions(self) -> Iterator[Portion]:
        """Yield what this process is to make. Each portion is to be appended before the next one is asked for."""

    @abstractmethod
    def append(self, images: Sequence[Tensor]) -> None:
        """Add the next images of a portion, uint8, (C, H, W) each."""

    @abstractmethod
    def finish(self) -> Images:
        """Return the images, once all are there."""

    def close(self) -> None:  # noqa: B027  # memory has nothing open
        """Close what is open. The images that were taken stay."""

    def fill(self, make: Maker) -> Images:
        """Have all images made that are missing, and finish.

        Args:
            make: Yields the images of a portion in batches.

        Raises:
            RuntimeError: the batches ended before the last image.
        """
        try:
            for portion in self.portions():
                # Closed at once when writing fails: otherwise it would hold the device for as long as the error is kept.
                with closing(make(portion)) as batches:
                    for batch in batches:
                        self.append(batch)
            return self.finish()
        finally:
            self.close()

    def too_few(self) -> RuntimeError:
        """Return the error for a portion of which images are missing."""
        return RuntimeError(f"only {self.count} of {self.length} images were made")


class MemoryImages(ImageSink):
    """Images in memory, as bytes. If all have one shape, they are kept in one tensor."""

    def __init__(self, length: int, *, shape: tuple[int, int, int] | None, batch_size: int) -> None:
        super().__init__(length, batch_size)
        self._same = torch.empty(length, *shape, dtype=torch.uint8) if shape is not None else None
        self._each: list[Tensor] = []

    def portions(self) -> Iterator[Portion]:
        """Yield all images as one portion."""
        yield Portion(iter(range(self.length)), 0, self.length)
        if self.count != self.length:
            raise self.too_few()

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
