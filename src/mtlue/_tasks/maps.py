"""What depth and surface normals share: a float map in which zeros are missing readings."""

from __future__ import annotations

from abc import abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue._tasks.base import Task


def resize_nearest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize label maps (B, C, H, W) by nearest neighbour, which invents no values between two labels."""
    if maps.shape[-2:] == size:
        return maps
    rows, columns = (_nearest(*sides).to(maps.device) for sides in zip(maps.shape[-2:], size, strict=True))
    return maps.index_select(-2, rows).index_select(-1, columns)


def _nearest(length: int, wanted: int) -> Tensor:
    """Return, for each wanted pixel, the index of the nearest existing one.

    Computed on the CPU, because some devices lack float64, and devices differ if two pixels are equally near. The index only
    selects values, so they keep their type and do not change.
    """
    positions = torch.arange(length, dtype=torch.float64, device="cpu").reshape(1, 1, 1, length)
    return F.interpolate(positions, size=(1, wanted), mode="nearest-exact").flatten().long()


class RegressionMap(Task):
    """A task with ``label_channels`` floats for each pixel. If all are zero, the pixel has no reading."""

    @property
    @abstractmethod
    def label_channels(self) -> int:
        """Number of floats for each pixel."""

    @property
    def output_channels(self) -> int:
        """The same number as in the labels."""
        return self.label_channels

    def read_target(self, label: object) -> Tensor:
        """Read floats of shape (C, H, W) or (B, C, H, W) as float32.

        Raises:
            ValueError: the map has the wrong shape, or holds NaN or infinity.
            TypeError: the label is not an array of numbers.
        """
        try:
            values = torch.as_tensor(label).float()
        except (TypeError, ValueError, RuntimeError):
            raise TypeError(f"expected a float map, got {type(label).__name__}") from None
        if self.label_channels == 1 and values.ndim == 2:
            values = values.unsqueeze(0)
        if values.ndim not in (3, 4) or values.shape[-3] != self.label_channels:
            raise ValueError(f"expected a map of shape ({self.label_channels}, H, W), got {tuple(values.shape)}")
        if not bool(values.isfinite().all()):
            raise ValueError("the map holds NaN or infinity; use 0 for a missing reading")
        return values

    def read_output(self, output: Tensor) -> Tensor:
        """Read maps of shape (B, C, H, W).

        Raises:
            ValueError: the output has another number of channels or axes.
        """
        if output.ndim != 4 or output.shape[1] != self.label_channels:
            raise ValueError(f"expected maps of shape (B, {self.label_channels}, H, W), got {tuple(output.shape)}")
        return output

    def check_same_shape(self, output: Tensor, target: Tensor) -> None:
        """Refuse an output that would be broadcast over the target.

        Raises:
            ValueError: the shapes differ.
        """
        if output.shape != target.shape:
            raise ValueError(f"expected maps of shape {tuple(target.shape)}, got {tuple(output.shape)}")

    def observed(self, target: Tensor) -> Tensor:
        """Return which pixels have a reading, shape (B, 1, H, W)."""
        return (target != 0).any(dim=1, keepdim=True)

    def missing(self, target: Tensor) -> Tensor:
        """Return which samples have no reading at all, shape (B,)."""
        return ~self.observed(target).flatten(1).any(dim=1)

    def count_labels(self, target: Tensor) -> Tensor:
        """Return the number of pixels with a reading, shape ()."""
        return self.observed(target).sum()

    def skill(self, output: Tensor, target: Tensor) -> float:
        """Return one minus the loss divided by that of the mean reading: 0 is chance, 1 is perfect."""
        observed = self.observed(target)
        mean = target.sum(dim=(0, 2, 3), keepdim=True) / observed.sum().clamp_min(1)
        return self._skill_beside(mean.expand_as(target), output, target)

    def label_map(self, target: Tensor) -> Tensor:
        """Return the readings themselves, shape (B, C, H, W)."""
        return target.float()

    def resize_target(self, target: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize the map by nearest neighbour, shape (B, C, *size)."""
        return resize_nearest(target, size)
