"""What every source of class-wise patterns shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from mtlue._checks import check_count, check_image_shape

#: ``patterns(num_classes, shape, generator)``: one pattern a class of a task, floats (num_classes, C, H, W) of any scale.
Patterns: TypeAlias = Callable[[int, tuple[int, int, int], torch.Generator], Tensor]


def unit_norm(patterns: Tensor) -> Tensor:
    """Patterns (N, ...) scaled to an l2 norm of 1 each."""
    norms: Tensor = patterns.flatten(1).norm(dim=1)
    return patterns / norms.view(-1, *[1] * (patterns.ndim - 1))


def check_request(num_classes: int, shape: Sequence[int]) -> tuple[int, int, int]:
    """Check what a source of patterns is asked for, and return the shape.

    Raises:
        TypeError: an argument is not an integer, or the shape not a sequence of them.
        ValueError: there is no class, or the shape is not (C, H, W).
    """
    check_count("num_classes", num_classes, minimum=1)
    return check_image_shape("shape", shape)
