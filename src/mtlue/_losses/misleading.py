"""TAP's loss with a weight for each task: how far the surrogate gives way."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mtlue._losses.surrogate import Surrogate

# Weight of a step in the running means of the losses.
_STEP = 0.05
# A task without progress keeps this weight, so that it can start. Half of the first loss removed gives the full weight.
_LEAST, _GAIN = 0.1, 2.0


class Misleading:
    """Shows a trained surrogate the features of another class, as `mtlue.TAP` does, and gives up on tasks where this fails.

    If classes are very easy to see, no perturbation within the budget moves a trained surrogate. Its loss then stays high, and
    its gradient would drown all other losses.
    """

    def __init__(self) -> None:
        # One for each task; NaN until a label of the task was seen.
        self._first = self._mean = torch.tensor(torch.nan)

    def loss(self, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor], known: Tensor) -> Tensor:
        """Return the weighted mean over tasks of the losses towards the shifted labels.

        Args:
            surrogate: The trained surrogate, frozen.
            images: Perturbed images, (B, C, H, W).
            targets: True labels by task, as the tasks read them.
            known: Which tasks have labels, booleans (K,).
        """
        outputs = surrogate(images)
        losses = torch.stack([task.adversarial_loss(outputs[name], targets[name]) for name, task in surrogate.tasks.items()])
        self._note(losses.detach().float(), known)
        return (self.weights * losses).mean()

    @property
    def weights(self) -> Tensor:
        """Weight of each task, (K,) in [0.1, 1]."""
        # Untargeted losses are negative and fall without limit: their first value is then taken as a share of the present one.
        first, mean = self._first, self._mean
        left = torch.where(first > 0, mean / first, first / mean).nan_to_num(nan=1.0, posinf=1.0, neginf=1.0)
        return (_GAIN * (1 - left)).clamp(_LEAST, 1.0)

    def _note(self, losses: Tensor, known: Tensor) -> None:
        self._first, self._mean = self._first.to(losses.device), self._mean.to(losses.device)
        self._first = torch.where(known & self._first.isnan(), losses, self._first)
        mean = torch.where(self._mean.isnan(), self._first, self._mean)
        self._mean = torch.where(known, torch.lerp(mean, losses, _STEP), mean)

    def state_dict(self) -> dict[str, Any]:
        """Return everything needed to resume."""
        return {"first": self._first, "mean": self._mean}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state."""
        self._first, self._mean = state["first"], state["mean"]
