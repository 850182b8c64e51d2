"""Tiny images with a label map of each kind, which a model that looks at single pixels can learn."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mtlue

Room = tuple[Tensor, dict[str, Tensor]]
ROOMS: dict[str, mtlue.Task] = {"parts": mtlue.Segmentation(3), "depth": mtlue.Depth(), "normals": mtlue.SurfaceNormals()}


def rooms(count: int, *, seed: int, size: int = 12) -> list[Room]:
    """Red tells the depth, green the class, blue the x of the normal; a tenth of the pixels has no label."""
    random = torch.Generator().manual_seed(seed)
    parts = torch.randint(3, (count, size, size), generator=random)
    red, blue, unknown = torch.rand(3, count, 1, size, size, generator=random)
    images = torch.cat([red, parts.unsqueeze(1) / 2, blue], dim=1)
    normals = F.normalize(torch.cat([4 * blue - 2, torch.zeros_like(blue), torch.ones_like(blue)], dim=1), dim=1)
    known = unknown > 0.1
    depth = (1 + 4 * red) * known
    return [
        (image, {"parts": part.masked_fill(~seen[0], -1), "depth": near, "normals": normal * seen})
        for image, part, near, normal, seen in zip(images, parts, depth, normals, known, strict=True)
    ]


class Pointwise(nn.Module):
    """A 1x1 convolution for each task."""

    def __init__(self, tasks: Mapping[str, mtlue.Task]) -> None:
        super().__init__()
        self.answers = nn.ModuleDict({name: nn.Conv2d(3, task.output_channels, 1) for name, task in tasks.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {name: answer(images) for name, answer in self.answers.items()}
