"""Semantic segmentation."""

from __future__ import annotations

import torch
from torch import Tensor

from mtlue._tasks.labels import ClassLabels
from mtlue._tasks.maps import resize_nearest


class Segmentation(ClassLabels):
    """A task with one class for each pixel.

    Args:
        num_classes: Number of classes, C.
        ignore_index: The label of pixels without a class, which are left out of everything.

    Raises:
        TypeError: an argument is not an integer.
        ValueError: ``num_classes`` is below 1, or ``ignore_index`` is one of the classes.

    Labels are integer maps of shape (H, W), in batches (B, H, W). A model answers with logits of shape (B, C, H, W).

    Example:
        >>> import torch, mtlue
        >>> task = mtlue.Segmentation(13)
        >>> task.label_map(torch.tensor([[[0, 12, -1]]])) * 13
        tensor([[[[ 1., 13.,  0.]]]])
    """

    label_channels = 1

    def read_target(self, label: object) -> Tensor:
        """Read integers of shape (H, W), (B, H, W) or (B, 1, H, W), as int64 without the channel.

        A map of shape (1, H, W) is a batch of one.

        Raises:
            ValueError: a label is not a class index, or the map has the wrong number of axes.
            TypeError: the labels are not numbers.
        """
        values = self._read_integers(label)
        if values.ndim == 4 and values.shape[1] == 1:
            values = values.squeeze(-3)
        if values.ndim not in (2, 3):
            raise ValueError(f"expected a label map of shape (H, W), got {tuple(values.shape)}")
        return values

    def read_output(self, output: Tensor) -> Tensor:
        """Read logits of shape (B, C, H, W).

        Raises:
            ValueError: the output does not have C channels and two spatial axes.
        """
        if output.ndim != 4 or output.shape[1] != self.num_classes:
            raise ValueError(f"expected logits of shape (B, {self.num_classes}, H, W), got {tuple(output.shape)}")
        return output

    def label_map(self, target: Tensor) -> Tensor:
        """Return the classes scaled to (0, 1], shape (B, 1, H, W); 0 where ignored."""
        scaled = (target.unsqueeze(1) + 1).float() / self.num_classes
        return torch.where(target.unsqueeze(1) == self.ignore_index, 0.0, scaled)

    def count_labels(self, target: Tensor) -> Tensor:
        """Return the number of pixels with a class, shape ()."""
        return (target != self.ignore_index).sum()

    def resize_target(self, target: Tensor, size: tuple[int, int]) -> Tensor:
        """Resize the label map by nearest neighbour, shape (B, *size)."""
        return resize_nearest(target.unsqueeze(1), size).squeeze(1)
