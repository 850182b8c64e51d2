"""Grey images with two binary tasks that a small network learns in seconds, and the settings of such victims."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

TASKS = {"side": 2, "shade": 2}


def two_task_set(count: int, seed: int) -> TensorDataset:
    """Grey images whose brighter half and whose brightness are the labels, by two levels each, as bytes."""
    labels = torch.randint(2, (count, 2), generator=torch.Generator().manual_seed(seed))
    side, shade = (4 * labels - 2).reshape(count, 2, 1, 1, 1).unbind(1)
    images = 128 + shade + torch.cat([side.expand(-1, 1, 4, 8), -side.expand(-1, 1, 4, 8)], dim=2)
    return TensorDataset(images.byte(), labels)


def make_net(tasks: dict[str, Any]) -> nn.Module:
    """A small network for any tasks."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 16), nn.ReLU())
            self.heads = nn.ModuleDict({name: nn.Linear(16, 2) for name in tasks})

        def forward(self, images: Tensor) -> dict[str, Tensor]:
            hidden = self.body(images)
            return {name: head(hidden) for name, head in self.heads.items()}

    return Net()


OPTIONS: dict[str, Any] = {
    "model": make_net,
    "transform": lambda images: images,
    "epochs": 16,
    "batch_size": 16,
    "learning_rate": 2e-2,
    "progress": False,
}
