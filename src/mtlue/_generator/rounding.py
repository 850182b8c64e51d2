"""Turn a perturbation into the 8-bit image that is stored."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mtlue._data import resize
from mtlue._runtime import warn

# Four times the usual budget.
_VISIBLE = 32


def largest_level(epsilon: float) -> int:
    """Return the largest difference between a stored and a clean pixel, in levels of 1/255."""
    return math.floor(255 * epsilon + 1e-9)


def check_levels(epsilon: float) -> None:
    """Warn about a budget that rounding removes, and about one that everybody can see."""
    levels = largest_level(epsilon)
    if not levels:
        warn(f"epsilon: {epsilon:.4g} is less than one level, 1/255: stored images will not change")
    if levels > _VISIBLE:
        warn(f"epsilon: {epsilon:.4g} is {levels} levels of 255: everybody will see the change; the usual budget is 8/255")


def add_in_levels(clean: Tensor, perturbation: Tensor, epsilon: float, *, argument: str = "perturbation") -> Tensor:
    """Add a perturbation to 8-bit images, rounded to the nearest level within the budget. The budget then holds after saving.

    Args:
        clean: Images, uint8.
        perturbation: Floats on the scale of [0, 1], of the same shape.
        epsilon: The budget on that scale.
        argument: The argument that a message names.

    Returns:
        uint8, at most ``largest_level(epsilon)`` away from ``clean``.

    Raises:
        ValueError: the perturbation holds NaN or infinity.
    """
    # Cheaper than to ask each value: what is finite differs from itself by nothing.
    if not bool((perturbation - perturbation).sum() == 0):
        raise ValueError(
            f"{argument}: its perturbation holds NaN or infinity, so nothing would be protected; its weights are damaged, as by"
            " a learning rate that is too large: train a new one, with a smaller learning_rate"
        )
    return add_levels(clean, (perturbation.float() * 255).round(), epsilon)


def add_levels(clean: Tensor, levels: Tensor, epsilon: float) -> Tensor:
    """Add whole levels to 8-bit images. The result stays within ``largest_level(epsilon)`` and within [0, 255], uint8."""
    limit = largest_level(epsilon)
    held = levels.clamp(-limit, limit).to(torch.int16)
    return (clean.to(torch.int16) + held).clamp(0, 255).to(torch.uint8)


def add_to_images(clean: Sequence[Tensor], deltas: Tensor, epsilon: float) -> list[Tensor]:
    """Add what a generator made for some images, (B, C, h, w), to the 8-bit images, each (C, H, W), at their own sizes.

    The result is on the CPU. If none needs resizing they are added at once, and on the device: uint8 comes back from there.

    Raises:
        ValueError: it holds NaN or infinity.
    """
    if all(image.shape == deltas.shape[1:] for image in clean):
        images = torch.stack(list(clean)).to(deltas.device)
        # Copies: a view would be pickled with its whole batch.
        return [each.clone() for each in add_in_levels(images, deltas, epsilon, argument="generator").cpu()]
    own_sizes = (
        resize(delta.unsqueeze(0), (image.shape[-2], image.shape[-1])).squeeze(0)
        for image, delta in zip(clean, deltas.cpu(), strict=True)
    )
    return [add_in_levels(image, delta, epsilon, argument="generator") for image, delta in zip(clean, own_sizes, strict=True)]
