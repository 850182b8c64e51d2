"""Settings and small parts of searches pixel by pixel on the canvases, and what they change."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

import mtlue

TASKS = {"shoe": 2, "front": 2}
EM: dict[str, Any] = {"rounds": 3, "steps": 4, "step_size": 0.8 / 255, "stop_accuracy": 1.1}
FAST: dict[str, Any] = {"steps": 6, "step_size": 2 / 255}
QUIET: dict[str, Any] = {"batch_size": 16, "precision": torch.float32, "progress": False}


class Own(mtlue.BaseUELoss):
    """A frozen loss that is any function of the images."""

    trains_surrogate = False

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return self.function(images)


class WithNorm(nn.Sequential):
    """A model that is not linear, and differs between its modes."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__(nn.Flatten(), nn.BatchNorm1d(256), nn.Tanh(), nn.Dropout(0.5), *net[1:])


def stack(dataset: Any) -> tuple[Tensor, dict[str, Tensor]]:
    """Images as uint8, and targets."""
    images = torch.stack([image if image.dtype == torch.uint8 else (image * 255).round().byte() for image, _ in dataset])
    return images, {name: torch.tensor([target[name] for _, target in dataset]) for name in dataset[0][1]}


def changes(safe: Any, clean: Any) -> Tensor:
    """Levels by which the stored images differ from the clean ones."""
    return stack(list(safe))[0].int() - stack(clean)[0].int()
