"""What all sources of class-wise patterns share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from mtlue._checks import check_count, check_image_shape
from mtlue._data import Inspection
from mtlue._tasks import Task

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


def check_class_tasks(tasks: Mapping[str, Task]) -> None:
    """Refuse tasks with label maps: each pixel of a map has a class or a reading of its own, and no image has one.

    Raises:
        ValueError: there is such a task.
    """
    maps = ", ".join(f"{name!r}: {task!r}" for name, task in tasks.items() if task.is_map)
    if maps:
        others = [name for name, task in tasks.items() if not task.is_map]
        advice = f"give {others} alone" if others else "use baselines.pgd or mtlue.protect"
        raise ValueError(f"tasks: patterns belong to classes of images, expected classification tasks, got {maps}; {advice}")


def only_image_shape(inspection: Inspection) -> tuple[int, int, int]:
    """Return the shape (C, H, W) of all images.

    Raises:
        ValueError: there are several sizes.
    """
    if not inspection.uniform:
        sizes = ", ".join(f"{height} x {width}" for height, width in sorted(inspection.sizes)[:4])
        raise ValueError(
            f"dataset: expected images of one size, for which patterns are made, got {len(inspection.sizes)} sizes ({sizes}"
            f"{', ...' if len(inspection.sizes) > 4 else ''}); resize them in the data set"
        )
    return inspection.image_shape


def classes_by_task(labels: Mapping[str, Tensor], tasks: Mapping[str, Task]) -> Tensor:
    """Return the class of each sample in each task, (B, K); -1 where the label is missing."""
    return torch.stack([task.embedding_index(labels[name]) for name, task in tasks.items()], dim=1)
