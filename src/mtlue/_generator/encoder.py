"""The convolutions that bring an image, or a map of labels, to half its size."""

from __future__ import annotations

from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock


class Encoder(nn.Sequential):
    """Nine convolutions, (B, in, H, W) to (B, 2 * width, ceil(H/2), ceil(W/2)) (appendix A.2).

    A stem, two residual blocks at full size, and two at half size with twice the channels.
    """

    def __init__(self, in_channels: int, *, width: int = 64) -> None:
        wide = 2 * width
        shortcut = nn.Sequential(nn.Conv2d(width, wide, 1, stride=2, bias=False), nn.BatchNorm2d(wide))
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
        """Features of shape (B, 2 * width, ceil(H/2), ceil(W/2))."""
        features: Tensor = super().forward(input)  # type: ignore[no-untyped-call]  # torch gives it no types
        return features
