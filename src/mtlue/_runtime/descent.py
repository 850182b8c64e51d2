"""One step of an optimiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def descend(optimizer: torch.optim.Optimizer, losses: Any, backward: Callable[[Any], object] = torch.autograd.backward) -> None:
    """Take one step against the gradient of a loss. Weights change only here.

    Args:
        optimizer: The optimiser of the weights.
        losses: A scalar, or whatever ``backward`` makes gradients from.
        backward: Adds the gradients to the weights. After it, before the step, they are those of the whole batch. Gradients of
            several ranks would be summed there.
    """
    optimizer.zero_grad(set_to_none=True)
    backward(losses)
    optimizer.step()
