"""A narrow ResNet of a user's own, and models on it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mtlue.evaluation import build_model

ARCHITECTURES = ["hard-sharing", "cross-stitch", "mtan", "ltb"]
COLUMNS = ["cross-stitch", "ltb"]
TASKS = {"age.group": 3, "smiling": 2, "forward": 5}
SHAPE = (3, 21, 18)
WIDTHS = (4, 6, 8, 10)


class Block(nn.Module):
    """A residual block of one convolution."""

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(nn.Conv2d(channels, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width))
        self.shortcut = nn.Conv2d(channels, width, 1, stride, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, maps: Tensor) -> Tensor:
        out: Tensor = self.relu(self.residual(maps) + self.shortcut(maps))
        return out


class NarrowResNet(nn.Module):
    """A ResNet of a user's own, with the names that torchvision gives the parts."""

    def __init__(self, channels: int = 3, blocks: int = 2) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(2)
        before = WIDTHS[0]
        for stage, width in enumerate(WIDTHS, start=1):
            more = [Block(width, width) for _ in range(blocks - 1)]
            setattr(self, f"layer{stage}", nn.Sequential(Block(before, width, 1 if stage == 1 else 2), *more))
            before = width

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in range(1, 5):
            maps = getattr(self, f"layer{stage}")(maps)
        return torch.as_tensor(maps)


def drawn_resnet() -> NarrowResNet:
    """Always the same one."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return NarrowResNet()


def drawn_images() -> Tensor:
    return torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(1))


def build(backbone: Any, architecture: str = "hard-sharing", *, tasks: Any = None, seed: int = 0) -> Any:
    return build_model(backbone, tasks or TASKS, image_shape=SHAPE, architecture=architecture, seed=seed)


def reached(loss: Tensor, module: nn.Module) -> set[str]:
    """Names of the parameters that have a gradient which is not zero."""
    names, parameters = zip(*module.named_parameters(), strict=True)
    gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
    return {name for name, gradient in zip(names, gradients, strict=True) if gradient is not None and gradient.any()}
