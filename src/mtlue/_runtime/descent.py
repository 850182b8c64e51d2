"""One step of an optimiser, and the mode in which one is taken."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import torch

from mtlue._runtime.share import average_gradients


def gradients_on() -> AbstractContextManager[None]:
    """A context in which gradients are taken, whatever the mode of the caller: a training within ``torch.no_grad()`` is one."""
    # More than enable_grad: in inference mode that changes nothing.
    return torch.inference_mode(False)


def descend(optimizer: torch.optim.Optimizer, losses: Any, backward: Callable[[Any], object] = torch.autograd.backward) -> None:
    """Take one step against the gradient of a loss. Weights change only here.

    Args:
        optimizer: The optimiser of the weights.
        losses: A scalar, or whatever ``backward`` makes gradients from.
        backward: Adds the gradients to the weights. Those of several ranks are put together after it.
    """
    optimizer.zero_grad(set_to_none=True)
    backward(losses)
    average_gradients(optimizer)
    optimizer.step()
