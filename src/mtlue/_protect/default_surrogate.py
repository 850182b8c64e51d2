"""The surrogate for those who bring none."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from mtlue._tasks import Task


class ResNet18Surrogate(nn.Module):
    """torchvision's ResNet-18, not pretrained, with one head for each task (hard parameter sharing).

    A task with a label for the whole image gets a linear layer on the pooled features; one with a label map gets the sum of
    1x1 convolutions on the last three stages, brought to the image's size.

    Args:
        tasks: The tasks.
        channels: Channels of the images.
    """

    def __init__(self, tasks: Mapping[str, Task], channels: int) -> None:
        super().__init__()
        backbone = torchvision.models.resnet18(weights=None)
        if channels != 3:
            backbone.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        self.stem = nn.Sequential(backbone.conv1, backbone.bn1, backbone.relu, backbone.maxpool, backbone.layer1)
        self.stages = nn.ModuleList([backbone.layer2, backbone.layer3, backbone.layer4])
        # Lists in task order: a task may have a name that a module cannot.
        self._is_map = [task.num_embeddings == 0 for task in tasks.values()]
        self.heads = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(width, task.output_channels, 1) for width in (128, 256, 512))
            if is_map
            else nn.Linear(512, task.output_channels)
            for task, is_map in zip(tasks.values(), self._is_map, strict=True)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Outputs in task order for images (B, C, H, W)."""
        features = [self.stem(images)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        size = images.shape[-2:]
        outputs: list[Tensor] = []
        for head, is_map in zip(self.heads, self._is_map, strict=True):
            if is_map and isinstance(head, nn.ModuleList):
                maps = [part(feature) for part, feature in zip(head, features[1:], strict=True)]
                outputs.append(torch.stack([F.interpolate(each, size=size, mode="bilinear") for each in maps]).sum(dim=0))
            else:
                outputs.append(head(features[-1].mean(dim=(2, 3))))
        return outputs


def random_shift(images: Tensor) -> Tensor:
    """Move each image by up to an eighth of its size, as padding and a random crop do; the border becomes black."""
    count, channels, height, width = images.shape
    up, left = height // 8, width // 8
    padded = F.pad(images, (left, left, up, up))
    rows = torch.arange(height) + torch.randint(2 * up + 1, (count, 1))
    columns = torch.arange(width) + torch.randint(2 * left + 1, (count, 1))
    rows, columns = rows.to(images.device), columns.to(images.device)
    rows = rows.reshape(count, 1, height, 1).expand(count, channels, height, padded.shape[-1])
    return padded.gather(2, rows).gather(3, columns.reshape(count, 1, 1, width).expand(count, channels, height, width))
