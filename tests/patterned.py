"""Photographs with a pattern for each class, and how much a linear model finds of it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue._tasks import resolve_tasks
from multi_fashion import MultiFashion

PATTERNED_TASKS = resolve_tasks({"age": 4, "young": 2})
Data = list[tuple[Tensor, dict[str, int]]]


def patterned(size: int = 600) -> tuple[Tensor, dict[str, Tensor]]:
    """Photographs with a pattern of coarse cells for each class of two tasks; what they show tells nothing of the classes."""
    random = torch.Generator().manual_seed(1)
    images = F.avg_pool2d(MultiFashion(size, train=True).images.float() / 255, 2)
    labels = {}
    for name, task in PATTERNED_TASKS.items():
        signs = torch.randn(task.output_channels, 1, 8, 8, generator=random).sign()
        labels[name] = torch.randint(task.output_channels, (size,), generator=random)
        images = images + 4 / 255 * F.interpolate(signs, scale_factor=2)[labels[name]]
    return images.clamp(0, 1), labels


def as_data(images: Tensor, labels: dict[str, Tensor]) -> Data:
    return [(image, {name: int(label[index]) for name, label in labels.items()}) for index, image in enumerate(images)]


def probe(images: Tensor, labels: Tensor) -> float:
    """Accuracy on the second half of a linear model trained on the first."""
    flat = images.flatten(1) - images.flatten(1).mean(dim=0)
    half, classes = len(flat) // 2, int(labels.max()) + 1
    weights = torch.zeros(classes, flat.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weights], lr=3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        F.cross_entropy(flat[:half] @ weights.T, labels[:half]).backward()
        optimizer.step()
    return float(((flat[half:] @ weights.T).argmax(dim=1) == labels[half:]).float().mean())
