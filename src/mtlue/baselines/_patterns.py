"""What all sources of class-wise patterns share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from mtlue._checks import check_count, check_image_shape

#: ``patterns(num_classes, shape, generator)`` returns a pattern for each class, floats (num_classes, C, H, W) of any scale.
Patterns: TypeAlias = Callable[[int, tuple[int, int, int], torch.Generator], Tensor]


def unit_norm(patterns: Tensor) -> Tensor:
    """Scale patterns (N, ...) to an l2 norm of 1 each."""
    norms: Tensor = patterns.flatten(1).norm(dim=1)
    return patterns / norms.view(-1, *[1] * (patterns.ndim - 1))


def check_request(num_classes: int, shape: Sequence[int]) -> tuple[int, int, int]:
    """Check what is asked of a source of patterns, and return the shape.

    Raises:
        TypeError: an argument is not an integer, or the shape not a sequence of them.
        ValueError: ``num_classes`` is below 1, or the shape is not (C, H, W).
    """
    check_count("num_classes", num_classes, minimum=1)
    return check_image_shape("shape", shape)
