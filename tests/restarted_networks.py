"""Networks that keep what they see, and a batch for error minimisation against those that start anew."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import mtlue

TASKS: dict[str, mtlue.Task] = {"shape": mtlue.Classification(3), "colour": mtlue.Classification(2)}


class Net(nn.Module):
    """Linear, with an answer for each task; it keeps what it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({"shape": nn.Linear(12, 3), "colour": nn.Linear(12, 2)})
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.seen.append(images.detach())
        return {name: head(images.flatten(1)) for name, head in self.heads.items()}


def batch(count: int = 5) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    torch.manual_seed(0)
    clean = 0.2 + 0.6 * torch.rand(count, 3, 2, 2)
    images = (clean + 0.1 * torch.randn_like(clean)).clamp(0, 1).requires_grad_(True)
    return images, clean, {"shape": torch.arange(count) % 3, "colour": torch.arange(count) % 2}


def surrogate() -> mtlue.Surrogate:
    return mtlue.Surrogate(Net(), TASKS)


def half(images: Tensor) -> Tensor:
    return images / 2
