"""From a perturbation to the 8-bit image that is stored."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# A perturbation at the bound is a hair below it in float32, and must still count as whole levels.
_SLACK = 1e-3


def largest_level(epsilon: float) -> int:
    """Levels of 1/255 by which no stored pixel may differ from the clean one."""
    return math.floor(255 * epsilon + 1e-9)


def add_in_levels(clean: Tensor, perturbation: Tensor, epsilon: float) -> Tensor:
    """Add a perturbation to 8-bit images, rounded towards them: the budget holds after saving.

    Args:
        clean: uint8.
        perturbation: Floats on the scale of [0, 1], of the same shape.
        epsilon: The budget on that scale.

    Returns:
        uint8, at most ``largest_level(epsilon)`` away from ``clean``.
    """
    limit = largest_level(epsilon)
    scaled = perturbation.float() * 255
    levels = (scaled + _SLACK * scaled.sign()).trunc().clamp(-limit, limit)
    return (clean.to(torch.int16) + levels.to(torch.int16)).clamp(0, 255).to(torch.uint8)
