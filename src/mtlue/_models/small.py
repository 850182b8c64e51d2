"""A small network that starts to learn quickly, for images of any size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from mtlue._models.heads import tasks_with_maps
from mtlue._models.model import HardSharing
from mtlue._models.unet import UNet
from mtlue._runtime import power_of_two, random_numbers
from mtlue._tasks import Task

# The least that the stem leaves of the shorter side.
_SIDE = 64


def small_network(tasks: Mapping[str, Task], image_shape: tuple[int, int, int], *, width: int = 16, seed: int) -> nn.Module:
    """Make an untrained network for some tasks, in training mode, in the layout that is fastest on a CPU.

    It has three residual blocks, and linear heads on the means of the four quarters of its maps. If labels are maps, it is a
    U-Net. Images with a shorter side of 128 pixels or more are reduced by strides at the input, to 64 to 128.

    Args:
        tasks: The tasks.
        image_shape: Channels, height and width of the images.
        width: Channels of the first block.
        seed: Seed of the initial weights. The global random numbers do not change.
    """
    channels, height, image_width = image_shape
    stride = power_of_two(min(height, image_width) // _SIDE)
    kind, make = (HardSharing, _Maps) if tasks_with_maps(tasks) else (_JointHeads, _Features)
    with random_numbers(seed, torch.device("cpu")):
        network = kind(make(channels, width, stride), tasks, image_shape=image_shape)
    return network.to(memory_format=torch.channels_last).train()


class _JointHeads(HardSharing):
    """Applies the heads of all tasks in one product. One by one, those of forty tasks take longer to start than to compute.

    The heads themselves are not called, so what hooks into them sees nothing. No loss that does is given such a network.
    """

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        heads = cast("list[nn.Linear]", list(self.heads))
        weight, bias = torch.cat([head.weight for head in heads]), torch.cat([head.bias for head in heads])
        answers = F.linear(self.backbone(images), weight, bias)
        # Copies: a user's own task may work in place, or flatten what it is given. torch's type says that there is no result.
        split = cast("Callable[..., list[Tensor]]", torch.split_with_sizes_copy)
        return dict(zip(self.task_names, split(answers, [head.out_features for head in heads], dim=1), strict=True))


class _Features(nn.Module):
    """Return features (B, 16 * width) of images (B, C, H, W): what is in each quarter of them."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _stem(channels, width, stride),
            _halving_block(width, width),
            _halving_block(width, 2 * width),
            _halving_block(2 * width, 4 * width),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )

    def forward(self, images: Tensor) -> Tensor:
        return cast(Tensor, self.layers(images.contiguous(memory_format=torch.channels_last)))


class _Maps(nn.Module):
    """Return feature maps (B, width, H, W) of images (B, C, H, W)."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.stem = _stem(channels, width, stride) if stride > 1 else nn.Identity()
        self.unet = UNet(width if stride > 1 else channels, width)

    def forward(self, images: Tensor) -> Tensor:
        maps = self.unet(self.stem(images.contiguous(memory_format=torch.channels_last)))
        size = images.shape[-2:]
        return cast(Tensor, maps) if maps.shape[-2:] == size else F.interpolate(maps, size=size, mode="nearest")


def _stem(channels: int, width: int, stride: int) -> nn.Sequential:
    # Wide enough to cover every pixel.
    convolution = nn.Conv2d(channels, width, 2 * stride + 1, stride=stride, padding=stride, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True))


def _halving_block(channels: int, out: int) -> BasicBlock:
    # No strided 1x1 convolution: with few channels, torch 2.15 writes outside its memory in the backward pass.
    halved = nn.AvgPool2d(2, ceil_mode=True, count_include_pad=False)
    shortcut = nn.Sequential(halved, nn.Conv2d(channels, out, 1, bias=False), nn.BatchNorm2d(out))
    return BasicBlock(channels, out, stride=2, downsample=shortcut)
