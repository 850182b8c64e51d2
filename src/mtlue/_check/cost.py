"""What a network costs, counted and not timed: equal on every machine, so that a check depends on the seed alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


@torch.no_grad()
def forward_cost(forward: Callable[[], object], *, images: int) -> float:
    """Floating-point operations of one image's way forward.

    Args:
        forward: Runs some images through a network that is in eval mode.
        images: How many.
    """
    with FlopCounterMode(display=False) as counter:
        forward()
    return float(counter.get_total_flops()) / images
