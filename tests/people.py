"""Images of noise with an age, a race and a gender, and the least network that answers such tasks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Samples(list[Any]):
    """A list, which is a data set too."""


def random_images(count: int, *, seed: int = 0) -> torch.Tensor:
    return torch.randint(256, (count, 3, 16, 16), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def people(count: int = 18, *, seed: int = 0) -> Samples:
    """Images of noise with an age, a race and a gender."""
    return Samples(
        (image, {"age": index % 9, "race": index % 5, "gender": index % 2})
        for index, image in enumerate(random_images(count, seed=seed))
    )


class Net(nn.Module):
    """The least that answers such tasks."""

    def __init__(self, tasks: dict[str, Any]) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.heads = nn.ModuleDict({name: nn.Linear(48, classes) for name, classes in tasks.items()})

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.pool(images).flatten(1)
        return {name: head(features) for name, head in self.heads.items()}
