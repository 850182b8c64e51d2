"""What holds for any protected set, whatever made it: asserted the same way everywhere."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def in_levels(image: Tensor) -> Tensor:
    """An image, uint8 or float in [0, 1], in levels of 1/255, as integers."""
    return image.int() if image.dtype == torch.uint8 else (image * 255).round().int()


def same_target(found: Any, given: Any) -> bool:
    """Whether two targets, in any form, are equal."""
    if isinstance(given, dict):
        return list(found) == list(given) and all(same_target(found[name], given[name]) for name in given)
    if isinstance(given, tuple | list):
        return len(found) == len(given) and all(map(same_target, found, given))
    return torch.equal(torch.as_tensor(found), torch.as_tensor(given))


def largest_changes(protected: Any, clean: Any) -> list[int]:
    """By how many levels each stored image differs from the clean 8-bit one, at most."""
    pairs = zip(protected, clean, strict=True)
    return [int((in_levels(after) - in_levels(before)).abs().max()) for (after, _), (before, _) in pairs]


def assert_protected(protected: Any, clean: Any, *, limit: int = 8, all_changed: bool = True) -> None:
    """Bound, range, shape and labels: the samples of a clean set, their images changed by some levels and by no more.

    Args:
        protected: What a verb returned.
        clean: What it was given; its images are tensors.
        limit: Levels that the budget allows.
        all_changed: Whether each image differs from its clean one.
    """
    assert len(protected) == len(clean)
    for (after, found), (before, given) in zip(protected, clean, strict=True):
        assert after.dtype == torch.float32
        assert after.shape == before.shape
        # Whole levels in the range: what was measured is what can be stored.
        assert torch.equal(after, in_levels(after) / 255)
        assert 0 <= after.min() <= after.max() <= 1
        assert same_target(found, given)
    changes = largest_changes(protected, clean)
    assert max(changes) <= limit
    assert not all_changed or min(changes) > 0
