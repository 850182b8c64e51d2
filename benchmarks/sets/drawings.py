"""Drawings with flat areas and four independent tasks: images whose classes are plain to see."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

TASKS = {"shape": 4, "paint": 5, "ground": 4, "mark": 3}

_GROUNDS = ((0.93, 0.87, 0.70), (0.70, 0.85, 0.95), (0.75, 0.90, 0.72), (0.95, 0.76, 0.80))
_PAINTS = ((0.80, 0.20, 0.15), (0.15, 0.30, 0.75), (0.15, 0.50, 0.25), (0.95, 0.70, 0.10), (0.35, 0.20, 0.40))
_MARKS = ((0.0, 0.0, 0.0), (0.97, 0.97, 0.97), (0.10, 0.10, 0.10))
# Points a pixel and axis: edges are smoothed by averaging over them.
_FINER = 2


def draw(count: int, *, size: int, seed: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Draw some pictures: one shape on a ground, with a mark on it.

    The shape (disc, square, triangle, cross), its paint, the colour of the ground and the mark (none, a light band, a dark dot)
    are drawn independently, as are place, size, angle and the shade of each colour. Shifts and flips keep all labels.

    Args:
        count: Number of pictures.
        size: Height and width in pixels.
        seed: Equal seeds give equal pictures.

    Returns:
        Images (count, 3, size, size), uint8, and labels by task.
    """
    random = torch.Generator().manual_seed(seed)
    labels = {name: torch.randint(classes, (count,), generator=random) for name, classes in TASKS.items()}
    parts = [
        _draw({name: label[part] for name, label in labels.items()}, size, random) for part in torch.arange(count).split(500)
    ]
    return torch.cat(parts), labels


def _draw(labels: dict[str, Tensor], size: int, random: torch.Generator) -> Tensor:
    count = len(labels["shape"])

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *(shape or (1, 1)), generator=random)

    axis = (torch.arange(size * _FINER) + 0.5) / (size * _FINER) * 2 - 1
    radius, angle = uniform(0.40, 0.68), uniform(-0.2, 0.2) * math.pi
    across, down = axis - uniform(-0.3, 0.3), axis.unsqueeze(1) - uniform(-0.3, 0.3)
    u = (across * angle.cos() + down * angle.sin()) / radius
    v = (down * angle.cos() - across * angle.sin()) / radius
    larger = torch.maximum(u.abs(), v.abs())
    shapes = torch.stack([
        u.square() + v.square() < 1,
        larger < 0.87,
        (v < 0.75) & (2 * u.abs() - v < 1.0),
        (larger < 1) & (torch.minimum(u.abs(), v.abs()) < 0.36),
    ])
    marks = torch.stack([torch.zeros_like(u, dtype=torch.bool), u.abs() < 0.16, u.square() + v.square() < 0.09])
    each = torch.arange(count)
    shape = shapes[labels["shape"], each]
    mark = marks[labels["mark"], each] & shape

    def colour(table: tuple[tuple[float, float, float], ...], label: Tensor) -> Tensor:
        shade = 0.24 * (torch.rand(count, 3, generator=random) - 0.5) + 0.20 * (torch.rand(count, 1, generator=random) - 0.5)
        return (torch.tensor(table)[label] + shade).clamp(0, 1).reshape(count, 3, 1, 1)

    picture = torch.where(shape.unsqueeze(1), colour(_PAINTS, labels["paint"]), colour(_GROUNDS, labels["ground"]))
    picture = torch.where(mark.unsqueeze(1), colour(_MARKS, labels["mark"]), picture)
    return (F.avg_pool2d(picture, _FINER) * 255).round().byte()
