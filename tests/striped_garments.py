"""Garments for tests of the check: generators whose protection is known, and checks whose findings are."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

import mtlue
from multi_fashion import MultiFashion

TASKS: dict[str, mtlue.Task] = {"top": mtlue.Classification(2), "shoe": mtlue.Classification(2)}
QUIET: dict[str, Any] = {"batch_size": 32, "precision": torch.float32, "progress": False}
Garments = list[tuple[Tensor, dict[str, int]]]


def garments(count: int, *, contrast: float) -> Garments:
    """Photographs of 16x16 grey pixels; whether the garment on the left is a top, and whether it is a shoe."""
    source = MultiFashion(count, train=True, contrast=contrast)
    images = F.avg_pool2d(source.images.float(), 2).round().byte()
    left = source.targets["left"].tolist()
    return [
        (image, {"top": int(label in (0, 2, 3, 4, 6)), "shoe": int(label in (5, 7, 9))})
        for image, label in zip(images, left, strict=True)
    ]


class Stripes(mtlue.UEGenerator):
    """Upright or flat stripes, for one task in the upper half, for the other in the lower: plainer than pale photographs."""

    def __init__(self, *names: str, epsilon: float = 8 / 255) -> None:
        super().__init__({name: TASKS[name] for name in names or TASKS}, (1, 16, 16), width=2, epsilon=epsilon)
        self.trained = True

    def forward(self, images: Tensor, targets: Any, *, protected_tasks: Any = None) -> Tensor:
        delta = torch.zeros_like(images)
        row = torch.tensor([1.0, 1.0, -1.0, -1.0]).repeat(4)
        flat, upright = row[:8].reshape(8, 1).expand(8, 16), row.expand(8, 16)
        for half, name in enumerate(self.tasks):
            if protected_tasks is None or name in protected_tasks:
                chosen = (targets[name] == 1).reshape(-1, 1, 1, 1)
                delta[..., 8 * half : 8 * half + 8, :] = torch.where(chosen, upright, flat) * self.epsilon
        return delta


def check_that_finds(*shares: float) -> Any:
    """A check that finds these, one call after the other."""
    left = list(shares)

    def fake(data: Any, tasks: Any, protected: Any, plan: Any, compute: Any, *, transform: Any) -> mtlue.Check:
        return mtlue.Check(dict.fromkeys(tasks, left.pop(0)), protected_tasks=list(protected), images=(1, 1))

    return fake


class StoppedError(Exception):
    """What a call is cut off with."""


def stop(*_: Any, **__: Any) -> Any:
    """Cut the call off."""
    raise StoppedError
