"""Tiny images whose label maps follow from their pixels by a rule, and models that learn it."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mtlue

DENSE: dict[str, mtlue.Task] = {"parts": mtlue.Segmentation(3), "depth": mtlue.Depth(), "normals": mtlue.SurfaceNormals()}
MIXED: dict[str, mtlue.Task] = {"scene": mtlue.Classification(2), **DENSE}

#: A list is a data set too; the verbs are typed for more.
Scenes = Any


def make_scenes(count: int = 12, sizes: tuple[tuple[int, int], ...] = ((16, 16),), *, seed: int = 0) -> Scenes:
    """Bytes of shape (3, H, W) in patches of one colour, with labels of all the tasks, some pixels without.

    A part is the strongest colour, the depth falls with the brightness, the normal is the colour's direction from grey, and the
    scene says which half of the image is brighter.
    """
    random = torch.Generator().manual_seed(seed)
    scenes: list[tuple[Tensor, dict[str, Any]]] = []
    for index in range(count):
        height, width = sizes[index % len(sizes)]
        colors = torch.rand(1, 3, 4, 4, generator=random) * 0.6 + 0.2
        scene = index % 2
        colors[..., 2 * scene : 2 * scene + 2] += 0.15
        image = F.interpolate(colors, size=(height, width)).squeeze(0)
        unknown = F.interpolate((torch.rand(1, 1, 4, 4, generator=random) < 0.15).float(), size=(height, width))[0] > 0
        labels = {
            "scene": scene,
            "parts": image.argmax(dim=0).masked_fill(unknown[0], -1),
            "depth": (3.0 - 2.0 * image.mean(dim=0, keepdim=True)).masked_fill(unknown, 0.0),
            "normals": F.normalize(image - 0.5, dim=0).masked_fill(unknown, 0.0),
        }
        scenes.append(((image * 255).round().byte(), labels))
    return scenes


def stacked(scenes: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """A whole set of one size as a batch, images in [0, 1]."""
    images = torch.stack([image.float() / 255 if image.dtype == torch.uint8 else image for image, _ in scenes])
    names = scenes[0][1]
    return images, {name: torch.stack([torch.as_tensor(labels[name]) for _, labels in scenes]) for name in names}


class SceneNet(nn.Module):
    """Two convolutions that answer every task of a scene."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 9, 3, padding=1)
        random = torch.Generator().manual_seed(seed)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.2, generator=random)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Outputs by task."""
        maps = self.second(F.leaky_relu(self.first(images - 0.5), 0.1))
        middle = maps.shape[-1] // 2
        scene = torch.stack([maps[:, 8, :, :middle].mean(dim=(1, 2)), maps[:, 8, :, middle:].mean(dim=(1, 2))], dim=1)
        return {"scene": scene, "parts": maps[:, :3], "depth": maps[:, 3:4], "normals": maps[:, 4:7]}


def trained_net(scenes: Scenes) -> tuple[SceneNet, list[dict[str, Tensor]]]:
    """A net that has learned the scenes, and the states it had on the way."""
    images, targets = stacked(scenes)
    net, states = SceneNet(), []
    surrogate = mtlue.Surrogate(net, MIXED)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for step in range(120):
        optimizer.zero_grad()
        surrogate.loss(images, targets).backward()
        optimizer.step()
        if step % 40 == 39:
            states.append(copy.deepcopy(net.state_dict()))
    net.zero_grad(set_to_none=True)
    return net, states


def stored_bytes(dataset: Any) -> list[Tensor]:
    """Images of a protected set as they are stored."""
    return [(image * 255).round().byte() for image, _ in dataset]
