"""From a perturbation to the 8-bit image that is stored."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mtlue._runtime import warn

# A perturbation at the bound is a hair below it in float32, and must still count as whole levels.
_SLACK = 1e-3
# Four times the usual budget.
_VISIBLE = 32


def largest_level(epsilon: float) -> int:
    """Levels of 1/255 by which no stored pixel may differ from the clean one."""
    return math.floor(255 * epsilon + 1e-9)


def check_levels(epsilon: float) -> None:
    """Warn of a budget of which nothing is left once stored, and of one that everybody sees."""
    levels = largest_level(epsilon)
    if not levels:
        warn(f"epsilon: {epsilon:.4g} is less than one level of 1/255: nothing is left of it once stored")
    if levels > _VISIBLE:
        warn(f"epsilon: {epsilon:.4g} is {levels} levels of 255: the change is plain to see; the usual budget is 8/255")


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
