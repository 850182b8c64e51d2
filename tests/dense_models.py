"""A narrow ResNet with torchvision's blocks, and models on it that answer with maps."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

import mtlue
from mtlue._models import ResNetStages, dilate
from mtlue.evaluation import build_model

ARCHITECTURES = ["hard-sharing", "cross-stitch", "mtan", "ltb"]
TASKS: dict[str, Any] = {
    "what is it": mtlue.Segmentation(5),
    "depth": mtlue.Depth(),
    "room": 3,
    "normals": mtlue.SurfaceNormals(),
}
SHAPE = (3, 21, 18)
ANSWERS = {"what is it": (4, 5, 21, 18), "depth": (4, 1, 21, 18), "room": (4, 3), "normals": (4, 3, 21, 18)}
WIDTHS = (4, 6, 8, 10)


class NarrowResNet(nn.Module):
    """torchvision's blocks, two a stage, with the strides that its ResNets have."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, WIDTHS[0], 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        before = WIDTHS[0]
        for stage, width in enumerate(WIDTHS, start=1):
            stride = 1 if stage == 1 else 2
            shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))
            blocks = BasicBlock(before, width, stride, shortcut), BasicBlock(width, width)
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            before = width

    def forward(self, images: Tensor) -> Tensor:
        maps = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        for stage in range(1, 5):
            maps = getattr(self, f"layer{stage}")(maps)
        return torch.as_tensor(maps)


def build(backbone: Any = None, architecture: str = "hard-sharing", *, tasks: Any = None, seed: int = 0) -> Any:
    """A model on a narrow ResNet, dilated as those by name are."""
    if backbone is None:
        backbone = NarrowResNet()
        dilate(ResNetStages(backbone))
    return build_model(backbone, tasks or TASKS, image_shape=SHAPE, architecture=architecture, seed=seed)


def shapes(answer: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(each.shape) for name, each in answer.items()}
