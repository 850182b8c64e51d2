"""A network that learns until it has learned enough, and is then replaced by a new one."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from mtlue._runtime import Arriving, descend, joint_mean, random_numbers

#: Makes a new network from a seed.
Make: TypeAlias = Callable[[int], nn.Module]

# Weight of a step in the running means of the losses.
_STEP = 0.1


@dataclass(frozen=True)
class Lifetime:
    """How a learner learns, and when it is replaced.

    Attributes:
        steps: The learner is replaced after this many steps at the latest.
        loss: It is replaced earlier if its loss falls below this share of a new network's.
        learning_rate: Learning rate of Adam.
    """

    steps: int
    loss: float
    learning_rate: float


class Learner:
    """A network that is trained with Adam and replaced by a new one in time.

    Args:
        make: Makes a network from a seed. The global random numbers are seeded with it too.
        lifetime: How it learns, and when it is replaced.
        device: The device of the network.
        age: Steps to count as already taken, so that several learners are not replaced at once.

    Attributes:
        module: The network, in training mode.
    """

    def __init__(self, make: Make, lifetime: Lifetime, *, device: torch.device, age: int = 0) -> None:
        self._make, self._lifetime, self._device, self._age = make, lifetime, device, age

    @property
    def finished(self) -> bool:
        """Whether the network is due to be replaced."""
        return self._age >= self._lifetime.steps or 1 - self.learned < self._lifetime.loss

    @property
    def learned(self) -> float:
        """The share of a new network's loss that this network has removed, in [0, 1]."""
        left = float(self._left)
        return min(1.0, max(0.0, 1 - left)) if math.isfinite(left) else 0.0

    @property
    def relative_losses(self) -> Tensor:
        """Loss of each task as a share of a new network's; 1, of shape (), if it is unknown so far."""
        return (self._mean / self._first).nan_to_num(nan=1.0, posinf=1.0)

    def start(self) -> None:
        """Start with a new network, chosen by the global random numbers of torch."""
        # Always those of the CPU: equal seeds give equal networks.
        self._build(int(torch.randint(2**62, (), device="cpu")))
        # One for each task; NaN until a label of the task was seen.
        unknown = torch.full((), torch.nan, device=self._device)
        self._know(unknown, unknown)

    def replace(self) -> None:
        """Start again with a new network."""
        self.start()
        self._age = 0

    def step(self, loss: Tensor, losses: Tensor, known: Tensor) -> None:
        """Take a step.

        Args:
            loss: The loss to minimise.
            losses: Losses by task (K,), which show how far the network has come.
            known: Which tasks had labels, booleans (K,).
        """
        # Gradients have the precision of their parameters, whatever the precision of the forward pass.
        with torch.autocast(self._device.type, enabled=False):
            descend(self._optimizer, loss)
        self._age += 1
        losses = joint_mean(losses.detach())
        first = torch.where(known & self._first.isnan(), losses, self._first)
        mean = torch.where(self._mean.isnan(), first, self._mean)
        self._know(first, torch.where(known, torch.lerp(mean, losses, _STEP), self._mean))

    def move(self, device: torch.device) -> None:
        """Move to a device."""
        if device != self._device:
            self._device = device
            self.module.to(device)
            # Where the parameters are at present.
            self._optimizer.load_state_dict(self._optimizer.state_dict())
            self._know(self._first.to(device), self._mean.to(device))

    def _know(self, first: Tensor, mean: Tensor) -> None:
        """Take losses by task: those of a new network, and the running means."""
        self._first, self._mean = first, mean
        # Whoever asks for it, in the next step, waits only for this one.
        self._left = Arriving(mean.nansum() / first.nansum())

    def _build(self, seed: int) -> None:
        with random_numbers(seed, self._device):
            made = self._make(seed)
        if not isinstance(made, nn.Module):
            raise TypeError(f"make: expected it to return a torch.nn.Module, got {type(made).__name__}")
        self.module = made.to(self._device).train()
        self._optimizer = torch.optim.Adam(self.module.parameters(), lr=self._lifetime.learning_rate, foreach=True)
        self._seed = seed

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to resume."""
        return {
            "seed": self._seed,
            "age": self._age,
            "first": self._first,
            "mean": self._mean,
            "module": self.module.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state."""
        self._build(state["seed"])
        self.module.load_state_dict(state["module"])
        self._optimizer.load_state_dict(state["optimizer"])
        self._age = state["age"]
        self._know(state["first"].to(self._device), state["mean"].to(self._device))
