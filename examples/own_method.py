"""Put a loss and victims of your own into the tables beside the published ones.

Give this file to ``benchmarks/paper_tables.py --plugin examples/own_method.py``: the loss becomes a row of every table of
methods, a victim a column of the table of transfer.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

import mtlue


class Confuse(mtlue.BaseUELoss):
    """EM that also pushes away from the wrong labels that TAP pulls towards."""

    trains_surrogate = True

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Return a loss that is low if the true labels are easy and the wrong ones hard."""
        return surrogate.loss(images, targets) - 0.1 * surrogate.adversarial_loss(images, targets)


class Pixels(nn.Module):
    """A victim that sees an image as a list of pixels."""

    def __init__(self, tasks: dict[str, Any]) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Flatten(), nn.LazyLinear(256), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(256, task.num_classes) for name, task in tasks.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits by task."""
        hidden = self.hidden(images)
        return {name: head(hidden) for name, head in self.heads.items()}


class TwoLayers(nn.Module):
    """A victim that answers each pixel from the 7x7 around it."""

    def __init__(self, tasks: dict[str, Any]) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.LazyConv2d(32, 7, padding=3), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Conv2d(32, task.output_channels, 1) for name, task in tasks.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Maps by task."""
        hidden = self.hidden(images)
        return {name: head(hidden) for name, head in self.heads.items()}


def add_to(workshop: Any) -> None:
    """Called with the workshop that makes the tables of classification."""
    workshop.losses["MTL-UE-Confuse"] = Confuse
    workshop.models["pixels"] = Pixels


def add_to_dense(workshop: Any) -> None:
    """Called with the workshop that makes the tables of label maps."""
    workshop.losses["MTL-UE-Confuse"] = Confuse
    workshop.models["two-layers"] = TwoLayers
