"""A small U-Net."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class UNet(nn.Module):
    """Feature maps at full resolution, from coarse and fine views of the image (Ronneberger et al., 2015).

    Simplified: it halves the image three times, to 4 * width channels at most. Convolutions pad their input and have batch
        normalisation. Maps are enlarged by repeating each pixel. So images may have any size.

    Args:
        channels: Channels of the images.
        width: Number of features.
    """

    def __init__(self, channels: int, width: int = 16) -> None:
        super().__init__()
        self.down = nn.ModuleList([
            _convolutions(channels, width),
            _convolutions(width, 2 * width),
            _convolutions(2 * width, 4 * width),
            _convolutions(4 * width, 4 * width),
        ])
        self.up = nn.ModuleList([
            _convolutions(4 * width + 4 * width, 2 * width),
            _convolutions(2 * width + 2 * width, width),
            _convolutions(width + width, width),
        ])

    def forward(self, images: Tensor) -> Tensor:
        """Return feature maps (B, width, H, W) of images (B, C, H, W)."""
        first, *deeper = cast(Iterable[nn.Module], self.down)
        maps, skipped = first(images), []
        for down in deeper:
            skipped.append(maps)
            # An odd border is kept: the enlarged map covers the map that it joins, and is cropped to its size.
            maps = down(F.max_pool2d(maps, 2, ceil_mode=True))
        for up in self.up:
            beside = skipped.pop()
            height, width = beside.shape[-2:]
            enlarged = F.interpolate(maps, scale_factor=2, mode="nearest")[..., :height, :width]
            maps = up(torch.cat([enlarged, beside], dim=1))
        return cast(Tensor, maps)


def _convolutions(channels: int, out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, padding=1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
        nn.Conv2d(out, out, 3, padding=1, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )
