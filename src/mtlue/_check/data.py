"""The images of a check: training images in three versions, and other images for testing."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mtlue._data import Batch

# Whoever trains on larger images halves them first, so they are halved here too.
_LARGEST_SIDE = 224

CLEAN, NOISE, PROTECTED = "clean", "noise", "protected"


@dataclass(frozen=True)
class CheckData:
    """Samples of one data set, at one size.

    Attributes:
        clean: Samples to learn from, images of 8 bits.
        noise: Their images, each pixel moved by the whole budget at random.
        protected: The same images, protected.
        test: Other samples, clean.
    """

    clean: Batch
    noise: Tensor
    protected: Tensor
    test: Batch

    def version(self, name: str) -> Batch:
        """Return the training samples in one of their versions."""
        images = {CLEAN: self.clean.images, NOISE: self.noise, PROTECTED: self.protected}[name]
        return Batch(images, self.clean.targets)


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the height and width at which the check sees images of a given size: the same, up to a side of 224."""
    scale = min(1.0, _LARGEST_SIDE / max(size))
    height, width = (max(1, round(scale * side)) for side in size)
    return height, width
