"""Count what a network costs. A count, unlike a time, is equal on every machine, so a check depends on the seed alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


@torch.no_grad()
def forward_cost(forward: Callable[[], object], *, images: int) -> float:
    """Count the floating-point operations of a forward pass for one image.

    Args:
        forward: Runs some images through a network that is in eval mode.
        images: How many images.
    """
    with FlopCounterMode(display=False) as counter:
        forward()
    return float(counter.get_total_flops()) / images
