"""Fuse the patterns of several tasks into one perturbation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import Any, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue._data import Samples, resize
from mtlue._runtime import tensors_digest
from mtlue.baselines._assemble import Change
from mtlue.baselines._patterns import classes_by_task, unit_norm

#: Draws the patterns of a task's classes at a shape (C, h, w): floats (num_classes, C, h, w), each with an l2 norm of 1.
Draw: TypeAlias = Callable[[tuple[int, int, int]], Tensor]
#: ``fusion(draws, shape)`` returns what each class adds to an image of shape (C, H, W), (C_k, C, H, W) for each task. The
#: perturbation of an image is the sum over its classes. Its l2 norm is about 1 or less.
Fusion: TypeAlias = Callable[[Sequence[Draw], tuple[int, int, int]], list[Tensor]]


def average_fusion(draws: Sequence[Draw], shape: tuple[int, int, int]) -> list[Tensor]:
    """Average the patterns of an image's classes, each as large as the image (appendix A.1).

    Each pattern has the whole budget, but patterns of K tasks are nearly orthogonal, so their mean has only 1/sqrt(K) of it. A
    missing label adds nothing; the mean is still over all tasks.

    Args:
        draws: For each task, a function that draws patterns of its classes at a given shape, with an l2 norm of 1.
        shape: Shape (C, H, W) of the images.

    Returns:
        What the classes of each task add to an image, (C_k, C, H, W).

    Example:
        >>> import torch
        >>> from mtlue import baselines
        >>> def age(shape):
        ...     return torch.eye(16)[:3].reshape(3, *shape)  # of each class, one pixel
        >>> def smile(shape):
        ...     return torch.eye(16)[3:5].reshape(2, *shape)
        >>> of_age, of_smile = baselines.average_fusion([age, smile], (1, 4, 4))
        >>> (of_age[2] + of_smile[0]).norm()  # an image of the classes 2 and 0
        tensor(0.7071)
        >>> labels = [{"age": i % 3, "smile": i % 2} for i in range(6)]
        >>> dataset = [(torch.rand(3, 16, 16), label) for label in labels]
        >>> parts = {"patterns": baselines.LSP(), "fusion": baselines.average_fusion}
        >>> safe = baselines.shortcut(dataset, tasks={"age": 3, "smile": 2}, **parts)
    """
    return [draw(shape) / len(draws) for draw in draws]


def patch_fusion(draws: Sequence[Draw], shape: tuple[int, int, int]) -> list[Tensor]:
    """Put the pattern of each task into its own cell of the image (appendix A.1).

    The image is divided into N x N cells of H//N x W//N pixels, N = 2^ceil(log2(ceil(sqrt(K)))). The k-th cell in reading order
    belongs to task k. Remaining cells stay empty, and so does the cell of a missing label. If N does not divide the size, the
    grid is interpolated to it. Each task has 1/sqrt(K) of the budget, so that all cells together have the whole budget.

    Args:
        draws: For each task, a function that draws patterns of its classes at a given shape, with an l2 norm of 1.
        shape: Shape (C, H, W) of the images.

    Returns:
        What the classes of each task add to an image, (C_k, C, H, W).

    Raises:
        ValueError: the images have fewer pixels than there are cells.

    Example:
        >>> import torch
        >>> from mtlue import baselines
        >>> def draw(shape):
        ...     return torch.ones(1, *shape) / torch.ones(shape).norm()  # a task of one class
        >>> of_age, of_smile = baselines.patch_fusion([draw, draw], (1, 4, 4))
        >>> of_smile[0]  # the second of four cells
        tensor([[[0.0000, 0.0000, 0.3536, 0.3536],
                 [0.0000, 0.0000, 0.3536, 0.3536],
                 [0.0000, 0.0000, 0.0000, 0.0000],
                 [0.0000, 0.0000, 0.0000, 0.0000]]])
        >>> labels = [{"age": i % 3, "smile": i % 2} for i in range(6)]
        >>> dataset = [(torch.rand(3, 16, 16), label) for label in labels]
        >>> parts = {"patterns": baselines.LSP(), "fusion": baselines.patch_fusion}
        >>> safe = baselines.shortcut(dataset, tasks={"age": 3, "smile": 2}, **parts)
    """
    channels, height, width = shape
    # The next power of two from ceil(sqrt(K)) on.
    cells = 1 << math.isqrt(len(draws) - 1).bit_length()
    cell_height, cell_width = height // cells, width // cells
    if not cell_height or not cell_width:
        raise ValueError(
            f"fusion: {len(draws)} tasks need {cells} x {cells} cells, expected images of at least as many pixels, got "
            f"{height} x {width}"
        )
    parts = []
    for position, draw in enumerate(draws):
        patterns = draw((channels, cell_height, cell_width))
        grid = patterns.new_zeros(len(patterns), channels, cells * cell_height, cells * cell_width)
        top, left = position // cells * cell_height, position % cells * cell_width
        grid[..., top : top + cell_height, left : left + cell_width] = patterns
        # Interpolation is linear: that of the sum is the sum of these.
        parts.append(unit_norm(resize(grid, (height, width))) / math.sqrt(len(draws)))
    return parts


class FusedPatterns:
    """What the classes of each task add to an image, and their sum for a sample.

    Args:
        parts: For each task, floats (C_k, C, H, W) on the scale of [0, 1], for a budget of 1.
        budget: l2 norm that no sum exceeds.
    """

    def __init__(self, parts: Sequence[Tensor], budget: float) -> None:
        self._budget, self._shape = budget, parts[0].shape[1:]
        # Row 0 stands for a missing label.
        self._table = F.pad(torch.cat([part.flatten(1) for part in parts]) * budget, (0, 0, 1, 0))
        self._first_rows = torch.tensor(list(accumulate([1, *(len(part) for part in parts[:-1])])))
        highest = torch.stack([part.amax(dim=0).clamp_min(0) for part in parts]).sum(dim=0).max()
        lowest = torch.stack([(-part).amax(dim=0).clamp_min(0) for part in parts]).sum(dim=0).max()
        largest = max(float(highest), float(lowest)) * budget
        #: Largest change of a pixel over all combinations of classes, in whole levels, on the scale of [0, 1].
        self.epsilon = min(round(255 * largest), 255) / 255

    def levels(self, classes: Tensor) -> Tensor:
        """Return perturbations in levels of 1/255, int16 (B, C, H, W), for classes (B, K) with -1 for a missing label."""
        rows = torch.where(classes < 0, 0, classes + self._first_rows)
        fused = F.embedding_bag(rows, self._table, mode="sum")
        excess: Tensor = (fused.norm(dim=1, keepdim=True) / self._budget).clamp_min(1)
        levels: Tensor = (fused / excess * 255).round().clamp(-255, 255)
        return levels.to(torch.int16).view(-1, *self._shape)

    def change(self, samples: Samples) -> Change:
        """Return the function that says by how many levels the patterns of its classes change each sample of a data set."""

        def change(images: Sequence[Tensor], targets: Sequence[Any], indices: Sequence[int]) -> list[Tensor]:
            return list(self.levels(classes_by_task(samples.read_labels(targets), samples.tasks)))

        return change

    def digest(self) -> str:
        """Return a checksum of all patterns."""
        return tensors_digest([self._table])
