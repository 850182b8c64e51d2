"""The images of a check: some to learn from, in three versions, and others to be tested on."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from mtlue._data import Batch

# Larger images are halved and halved again by whoever trains on them.
_LARGEST_SIDE = 224

CLEAN, NOISE, PROTECTED = "clean", "noise", "protected"


@dataclass(frozen=True)
class CheckData:
    """Samples of one data set, at one size.

    Attributes:
        clean: Samples to learn from, images of 8 bits.
        noise: Their images, each pixel moved by the whole budget at random.
        protected: Their protected images.
        test: Other samples, clean.
    """

    clean: Batch
    noise: Tensor
    protected: Tensor
    test: Batch

    def version(self, name: str) -> Batch:
        """The samples to learn from in one of their versions."""
        images = {CLEAN: self.clean.images, NOISE: self.noise, PROTECTED: self.protected}[name]
        return Batch(images, self.clean.targets)


def check_size(size: tuple[int, int]) -> tuple[int, int]:
    """Height and width at which images of some size are looked at: their own, up to a side of 224."""
    scale = min(1.0, _LARGEST_SIDE / max(size))
    height, width = (max(1, round(scale * side)) for side in size)
    return height, width
