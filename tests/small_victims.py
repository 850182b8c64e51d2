"""A set that a small victim learns in seconds, and how it is trained."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

TASKS = {"side": 2, "shade": 3}


def two_task_set(count: int = 48) -> TensorDataset:
    """Images whose brighter half and whose brightness are the labels."""
    random = torch.Generator().manual_seed(0)
    side, shade = torch.randint(2, (count,), generator=random), torch.randint(3, (count,), generator=random)
    images = torch.rand(count, 1, 8, 8, generator=random) * 0.1
    images[torch.arange(count), :, :, :] += 0.2 * shade.reshape(-1, 1, 1, 1)
    images[side == 0, :, :4] += 0.3
    images[side == 1, :, 4:] += 0.3
    return TensorDataset(images, torch.stack([side, shade], dim=1))


def net(tasks: dict[str, Any] | None = None) -> nn.Module:
    """A small network that answers all tasks in one list."""

    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU())
            self.heads = nn.ModuleList(nn.Linear(32, classes) for classes in (2, 3))

        def forward(self, images: Tensor) -> list[Tensor]:
            hidden = self.body(images)
            return [head(hidden) for head in self.heads]

    return Heads()


def plain(images: Tensor) -> Tensor:
    """No augmentation."""
    return images


OPTIONS: dict[str, Any] = {
    "tasks": TASKS,
    "transform": plain,
    "epochs": 12,
    "batch_size": 16,
    "learning_rate": 1e-2,
    "progress": False,
    "precision": torch.float32,
}
