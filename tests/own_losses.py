"""Losses from outside the package, in several forms."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

import mtlue


def with_clean(
    surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor, weight: float = 1
) -> Tensor:
    return surrogate.loss(images, targets) + weight * (images - clean).square().mean()


class Module(nn.Module):
    """A loss that is a module, with a network of its own."""

    trains_surrogate = False

    def __init__(self, margin: float = 2.0) -> None:
        super().__init__()
        self.margin, self.teacher = margin, nn.Linear(90, 2)

    def forward(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor) -> Tensor:
        return surrogate.loss(images, targets) + self.margin * (images - clean).square().mean()


def as_loss(function: Any) -> Any:
    function.trains_surrogate = False
    return function


class MarginPush(mtlue.BaseUELoss):
    """A loss with a setting, and with whatever else it is given."""

    def __init__(self, margin: float, held: Any = None) -> None:
        self.margin = margin
        if held is not None:
            self.held = held

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return self.margin * surrogate.loss(images, targets)
