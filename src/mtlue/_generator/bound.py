"""Ways to keep a perturbation within the budget."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def largest_float32(epsilon: float) -> float:
    """Return the largest float32 that is not above epsilon, so that a bound in float32 holds in any precision."""
    single = torch.tensor(epsilon, dtype=torch.float32)
    if single.item() > epsilon:
        single = torch.nextafter(single, torch.tensor(0.0))
    return single.item()


def tanh_bound(raw: Tensor, epsilon: float) -> Tensor:
    """Return epsilon * tanh(x). It has a gradient everywhere, so a new generator can train at once."""
    return epsilon * torch.tanh(raw)


def clip_bound(raw: Tensor, epsilon: float) -> Tensor:
    """Clip as in Algorithm 1. The clip has no gradient where it cuts, which is nearly everywhere in a new generator."""
    return raw.clamp(-epsilon, epsilon)


BOUNDS: dict[str, Callable[[Tensor, float], Tensor]] = {"tanh": tanh_bound, "clip": clip_bound}
