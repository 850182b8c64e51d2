"""How patterns of several tasks become one perturbation."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue.baselines._fusion import Draw, FusedPatterns, average_fusion, patch_fusion

Shape = tuple[int, int, int]


def constants(classes: int, asked: list[Shape] | None = None) -> Draw:
    """Class c of a task is an image of one value, of norm 1, and negative where c is odd."""

    def draw(shape: Shape) -> Tensor:
        if asked is not None:
            asked.append(shape)
        signs = torch.tensor([-1.0 if label % 2 else 1.0 for label in range(classes)]).view(-1, 1, 1, 1)
        return signs * torch.full((classes, *shape), math.prod(shape) ** -0.5)

    return draw


def test_the_mean_of_the_patterns() -> None:
    asked: list[Shape] = []
    parts = average_fusion([constants(2, asked), constants(3, asked)], (1, 3, 5))
    assert asked == [(1, 3, 5)] * 2
    value = 15**-0.5 / 2
    torch.testing.assert_close(parts[0], torch.tensor([value, -value]).view(2, 1, 1, 1).expand(2, 1, 3, 5))
    torch.testing.assert_close(parts[1], torch.tensor([value, -value, value]).view(3, 1, 1, 1).expand(3, 1, 3, 5))


@pytest.mark.parametrize(
    ("tasks", "cells"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 4), (9, 4), (16, 4), (17, 8), (40, 8), (64, 8), (65, 16)]
)
def test_each_task_has_a_cell_of_its_own(tasks: int, cells: int) -> None:
    asked: list[Shape] = []
    parts = patch_fusion([constants(2, asked)] * tasks, (2, 2 * cells, 3 * cells))
    assert asked == [(2, 2, 3)] * tasks
    for task, part in enumerate(parts):
        wanted = torch.zeros(2, 2 * cells, 3 * cells)
        row, column = divmod(task, cells)
        # Twelve values of one cell share the norm of 1/sqrt(K).
        wanted[:, 2 * row : 2 * row + 2, 3 * column : 3 * column + 3] = (12 * tasks) ** -0.5
        torch.testing.assert_close(part, torch.stack([wanted, -wanted]))
    torch.testing.assert_close(sum(part[0] for part in parts).norm(), torch.tensor(1.0))


def test_three_tasks_leave_the_fourth_cell_empty() -> None:
    parts = patch_fusion([constants(2)] * 3, (1, 2, 2))
    value = 3**-0.5
    added = parts[0][0] + parts[1][1] + parts[2][0]
    torch.testing.assert_close(added, torch.tensor([[[value, -value], [value, 0.0]]]))


@pytest.mark.parametrize(("height", "width"), [(7, 5), (9, 8), (70, 33)])
def test_a_grid_that_does_not_fit_is_interpolated(height: int, width: int) -> None:
    asked: list[Shape] = []
    random = torch.Generator().manual_seed(0)

    def draw(shape: Shape) -> Tensor:
        asked.append(shape)
        patterns = torch.randn(2, *shape, generator=random)
        drawn.append(patterns / patterns.flatten(1).norm(dim=1).view(-1, 1, 1, 1))
        return drawn[-1]

    drawn: list[Tensor] = []
    parts = patch_fusion([draw] * 5, (3, height, width))
    cell = (height // 4, width // 4)
    assert asked == [(3, *cell)] * 5
    for task, (part, patterns) in enumerate(zip(parts, drawn, strict=True)):
        assert part.shape == (2, 3, height, width)
        grid = torch.zeros(2, 3, 4 * cell[0], 4 * cell[1])
        top, left = task // 4 * cell[0], task % 4 * cell[1]
        grid[..., top : top + cell[0], left : left + cell[1]] = patterns
        wanted = F.interpolate(grid, size=(height, width), mode="bilinear", align_corners=False)
        wanted *= 5**-0.5 / wanted.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        torch.testing.assert_close(part, wanted)


def test_more_cells_than_pixels_are_refused() -> None:
    with pytest.raises(
        ValueError, match="fusion: 17 tasks need 8 x 8 cells, expected images of at least as many pixels, got 9 x 7"
    ):
        patch_fusion([constants(2)] * 17, (1, 9, 7))


def test_levels_by_hand() -> None:
    parts = [torch.tensor([[[[0.6, 0.0]]], [[[-0.6, 0.0]]]]), torch.tensor([[[[0.0, 0.8]]], [[[0.8, 0.0]]]])]
    fused = FusedPatterns(parts, budget=0.11)
    # 0.066 * 255 = 16.8 and 0.088 * 255 = 22.4. No pixel changes by more than in the sum of both at the first, 39.3.
    assert fused.epsilon == 39 / 255
    classes = torch.tensor([[0, 0], [1, 0], [-1, 0], [0, -1], [-1, -1], [0, 1]])
    # The last sum, 0.154, is cut to the budget: 28.05.
    assert fused.levels(classes).view(-1, 2).tolist() == [[17, 22], [-17, 22], [0, 22], [17, 0], [0, 0], [28, 0]]
    assert fused.levels(classes).dtype == torch.int16
