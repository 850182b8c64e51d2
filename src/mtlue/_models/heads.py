"""Heads, which turn a model's features into the answer to one task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP, DeepLabHead

from mtlue._tasks import Task

# DeepLabv3's dilations for maps of an eighth of the image, and the width of its head.
_RATES, _WIDTH = (12, 24, 36), 256


class MapHead(nn.Module):
    """Turns feature maps (B, F, h, w) into an answer for each pixel of the image.

    Maps coarser than the image pass through the head of DeepLabv3 (Chen et al., 2017): parallel convolutions of several
    dilations and the average over the image (ASPP), and then one more convolution. The head is 256 wide, or as wide as the
    features if they are fewer. Maps at full resolution pass through a 1x1 convolution.

    Args:
        width: Number of features.
        channels: Channels of the answer.
        coarse: Whether the feature maps are coarser than the image.
    """

    def __init__(self, width: int, channels: int, *, coarse: bool) -> None:
        super().__init__()
        self.layers: nn.Module
        if not coarse:
            self.layers = nn.Conv2d(width, channels, 1)
        elif width >= _WIDTH:
            self.layers = DeepLabHead(width, channels, _RATES)
        else:
            self.layers = nn.Sequential(
                ASPP(width, _RATES, out_channels=width),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.Conv2d(width, channels, 1),
            )

    def forward(self, maps: Tensor, size: tuple[int, int]) -> Tensor:
        """Return maps (B, channels, H, W) of the given size (H, W)."""
        answer = cast(Tensor, self.layers(maps))
        return answer if answer.shape[-2:] == size else F.interpolate(answer, size=size, mode="bilinear")


def tasks_with_maps(tasks: Mapping[str, Task]) -> list[str]:
    """Return the names of the tasks whose labels are maps."""
    return [name for name, task in tasks.items() if task.is_map]


def check_features_suffice(tasks: Mapping[str, Task], backbone: str) -> None:
    """Check that the tasks can be answered from features (B, F).

    Raises:
        ValueError: the labels of a task are maps. The message names the backbone.
    """
    maps = tasks_with_maps(tasks)
    if maps:
        raise ValueError(
            f"backbone: expected one that gives feature maps (B, F, h, w), because the labels of {maps} are maps; "
            f"{backbone} gives features (B, F)"
        )


def make_heads(tasks: Mapping[str, Task], given: tuple[int, ...], size: tuple[int, int]) -> nn.ModuleList:
    """Make a head for each task.

    Classes of whole images get linear layers from pooled features (B, F) to logits (B, C_k), maps get a `MapHead`.

    Args:
        tasks: The tasks.
        given: Shape of the features of an image, (F,) or (F, h, w). The former only works without label maps.
        size: Height and width of the images.
    """
    coarse = any(side < whole for side, whole in zip(given[1:], size, strict=False))
    return nn.ModuleList([
        MapHead(given[0], task.output_channels, coarse=coarse) if task.is_map else nn.Linear(given[0], task.output_channels)
        for task in tasks.values()
    ])
