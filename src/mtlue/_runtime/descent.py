"""One step of an optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def descend(optimizer: torch.optim.Optimizer, losses: Any, backward: Callable[[Any], object] = torch.autograd.backward) -> None:
    """Take one step against the gradient of a loss: the one place where weights change.

    Args:
        optimizer: Of the weights.
        losses: A scalar, or whatever ``backward`` makes gradients from.
        backward: Puts the gradients into the weights. Between it and the step they are those of the whole batch: of several
            ranks they would be summed here.
    """
    optimizer.zero_grad(set_to_none=True)
    backward(losses)
    optimizer.step()
