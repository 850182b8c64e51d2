"""Convolutions that bring an image, or a label map, to half its size."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock


class _Projection(nn.Conv2d):
    """A 1x1 convolution of every second pixel, equal to one with stride 2.

    It avoids the stride because torch 2.15 writes outside its memory on a CPU: in the backward pass of a strided 1x1
    convolution of a few channels in the channels-last layout.
    """

    def __init__(self, channels: int, out: int) -> None:
        super().__init__(channels, out, 1, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """Return features (B, out, ceil(H/2), ceil(W/2)) from features (B, channels, H, W)."""
        return super().forward(input[..., ::2, ::2])


class Encoder(nn.Sequential):
    """Nine convolutions, (B, in, H, W) to (B, 2 * width, ceil(H/2), ceil(W/2)) (appendix A.2).

    A stem, two residual blocks at full size, and two at half size with twice the channels.
    """

    def __init__(self, in_channels: int, *, width: int = 64) -> None:
        wide = 2 * width
        shortcut = nn.Sequential(_Projection(width, wide), nn.BatchNorm2d(wide))
        super().__init__(
            nn.Sequential(
                nn.Conv2d(in_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)
            ),
            BasicBlock(width, width),
            BasicBlock(width, width),
            BasicBlock(width, wide, stride=2, downsample=shortcut),
            BasicBlock(wide, wide),
        )

    def forward(self, input: Tensor) -> Tensor:
        """Return features of shape (B, 2 * width, ceil(H/2), ceil(W/2))."""
        features: Tensor = super().forward(input)  # type: ignore[no-untyped-call]  # torch gives it no types
        return features
