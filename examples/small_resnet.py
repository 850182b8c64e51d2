"""A small network for small images, and how they are shifted: the surrogate and the victims of the examples."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock


class SmallResNet(nn.Module):
    """Three residual blocks, and a linear head for each task.

    Args:
        tasks: Number of classes by task name.
        channels: Channels of the images.
        width: Channels of the first block; the last has four times as many.
    """

    def __init__(self, tasks: Mapping[str, int], *, channels: int = 1, width: int = 16) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            _halving_block(width, width),
            _halving_block(width, 2 * width),
            _halving_block(2 * width, 4 * width),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.heads = nn.ModuleDict({name: nn.Linear(16 * width, classes) for name, classes in tasks.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits by task name."""
        features = self.features(images)
        return {name: head(features) for name, head in self.heads.items()}


def _halving_block(channels: int, out: int) -> BasicBlock:
    shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride=2, bias=False), nn.BatchNorm2d(out))
    return BasicBlock(channels, out, stride=2, downsample=shortcut)


def random_shift(images: Tensor, pixels: int = 3) -> Tensor:
    """Move each image by up to some pixels; the border is repeated. Gradients pass through."""
    count, channels, height, width = images.shape
    padded = F.pad(images, [pixels] * 4, mode="replicate")
    rows = torch.arange(height) + torch.randint(2 * pixels + 1, (count, 1))
    columns = torch.arange(width) + torch.randint(2 * pixels + 1, (count, 1))
    sample, channel = torch.arange(count).reshape(-1, 1, 1, 1), torch.arange(channels).reshape(1, -1, 1, 1)
    return padded[sample, channel, rows.reshape(count, 1, height, 1), columns.reshape(count, 1, 1, width)]
