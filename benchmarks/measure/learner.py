"""A network that learns for a while, and is then replaced by a new one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

#: A new network, from a seed.
Make = Callable[[int], nn.Module]
#: A change of images in training that lets gradients through, such as JPEG.
Distortion = Callable[[Tensor], Tensor]


class Learner:
    """A network that takes steps of Adam and is replaced by a new one every so often."""

    def __init__(self, make: Make, *, seed: int, restart: int, first_restart: int, learning_rate: float) -> None:
        self.make, self.seed, self.restart, self.learning_rate = make, seed, restart, learning_rate
        self.age, self.generation = restart - first_restart, 0
        self._start()

    def _start(self) -> None:
        self.module = self.make(1000 * self.seed + self.generation)
        self.optimizer = torch.optim.Adam(self.module.parameters(), lr=self.learning_rate)
        self.first_loss: float | None = None
        self.mean_loss: float | None = None

    def ready(self, device: torch.device) -> nn.Module:
        """The network, a new one if it is time."""
        if self.age >= self.restart:
            self.age, self.generation = 0, self.generation + 1
            self._start()
        return self.module.to(device).train()

    def step(self) -> None:
        """Take the step that the gradients say."""
        self.optimizer.step()
        self.age += 1

    def mark(self, loss: Tensor, graduation: float) -> None:
        """Note a loss; one that is a small enough share of the first ends the training."""
        if self.mean_loss is None or self.first_loss is None:
            self.first_loss = self.mean_loss = float(loss)
        self.mean_loss += 0.1 * (float(loss) - self.mean_loss)
        if self.mean_loss < graduation * self.first_loss:
            self.age = self.restart

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on."""
        return {
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "age": self.age,
            "generation": self.generation,
            "first_loss": self.first_loss,
            "mean_loss": self.mean_loss,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.module.load_state_dict(state["module"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.age, self.generation = state["age"], state["generation"]
        self.first_loss, self.mean_loss = state["first_loss"], state["mean_loss"]
