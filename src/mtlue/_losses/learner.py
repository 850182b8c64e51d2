"""A network that learns until it has learned enough, and is then replaced by a new one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from mtlue._runtime import descend, random_numbers

#: Makes a new network from a seed.
Make: TypeAlias = Callable[[int], nn.Module]

# Share of a step in the running means of the losses.
_STEP = 0.1


@dataclass(frozen=True)
class Lifetime:
    """How a learner learns, and until when.

    Attributes:
        steps: After so many it is replaced.
        loss: Share of a new network's loss below which it is replaced before that.
        learning_rate: Adam's.
    """

    steps: int
    loss: float
    learning_rate: float


class Learner:
    """A network that takes steps of Adam and is replaced by a new one in time.

    Args:
        make: Makes a network from a seed; the global random numbers are seeded with it too.
        lifetime: How it learns, and until when.
        device: Where it is.
        age: Steps that count as taken already, so that several learners are not replaced at once.

    Attributes:
        module: The network, in training mode.
    """

    def __init__(self, make: Make, lifetime: Lifetime, *, device: torch.device, age: int = 0) -> None:
        self._make, self._lifetime, self._device, self._age = make, lifetime, device, age

    @property
    def finished(self) -> bool:
        """Whether it is to be replaced."""
        return self._age >= self._lifetime.steps or 1 - self.learned < self._lifetime.loss

    @property
    def learned(self) -> float:
        """The share of a new network's loss that it has got rid of, in [0, 1]."""
        left = float(self._mean.nansum() / self._first.nansum())
        return min(1.0, max(0.0, 1 - left)) if math.isfinite(left) else 0.0

    @property
    def relative_losses(self) -> Tensor:
        """Loss of each task as a share of that of a new network; 1 where it is not known yet, then of shape ()."""
        return (self._mean / self._first).nan_to_num(nan=1.0, posinf=1.0)

    def start(self) -> None:
        """Begin with a new network, which the global random numbers of torch choose."""
        # Of the processor in any case: equal seeds, equal networks.
        self._build(int(torch.randint(2**62, (), device="cpu")))
        # Of each task; not a number until there was a label of it.
        self._first = self._mean = torch.full((), torch.nan, device=self._device)

    def replace(self) -> None:
        """Begin anew."""
        self.start()
        self._age = 0

    def step(self, loss: Tensor, losses: Tensor, known: Tensor) -> None:
        """Take a step.

        Args:
            loss: What is minimised.
            losses: Losses by task (K,), by which it is told how far the network has come.
            known: For which tasks there were labels, booleans (K,).
        """
        # Gradients have the precision of what they belong to, whatever the precision of the forward pass.
        with torch.autocast(self._device.type, enabled=False):
            descend(self._optimizer, loss)
        self._age += 1
        losses = losses.detach()
        self._first = torch.where(known & self._first.isnan(), losses, self._first)
        mean = torch.where(self._mean.isnan(), self._first, self._mean)
        self._mean = torch.where(known, torch.lerp(mean, losses, _STEP), self._mean)

    def move(self, device: torch.device) -> None:
        """Go on, on a device."""
        if device != self._device:
            self._device = device
            self.module.to(device)
            # Where the parameters are now.
            self._optimizer.load_state_dict(self._optimizer.state_dict())
            self._first, self._mean = self._first.to(device), self._mean.to(device)

    def _build(self, seed: int) -> None:
        with random_numbers(seed, self._device):
            made = self._make(seed)
        if not isinstance(made, nn.Module):
            raise TypeError(f"make: expected it to return a torch.nn.Module, got {type(made).__name__}")
        self.module = made.to(self._device).train()
        self._optimizer = torch.optim.Adam(self.module.parameters(), lr=self._lifetime.learning_rate, foreach=True)
        self._seed = seed

    def state_dict(self) -> dict[str, Any]:
        """All that is needed to go on."""
        return {
            "seed": self._seed,
            "age": self._age,
            "first": self._first,
            "mean": self._mean,
            "module": self.module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self._build(state["seed"])
        self.module.load_state_dict(state["module"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._age, self._first, self._mean = state["age"], state["first"].to(self._device), state["mean"].to(self._device)
