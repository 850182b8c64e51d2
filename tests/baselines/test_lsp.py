"""Linearly separable patterns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mtlue.baselines._lsp import LSP


def draw(num_classes: int, shape: tuple[int, int, int], seed: int = 0) -> Tensor:
    return LSP()(num_classes, shape, torch.Generator().manual_seed(seed))


@given(
    num_classes=st.integers(1, 8),
    channels=st.integers(1, 4),
    height=st.integers(17, 40),
    width=st.integers(1, 40),
    seed=st.integers(0),
)
def test_patterns_are_grids_of_cells_of_one_color(num_classes: int, channels: int, height: int, width: int, seed: int) -> None:
    patterns = draw(num_classes, (channels, height, width), seed % 2**32)
    assert patterns.shape == (num_classes, channels, height, width)
    assert patterns.dtype == torch.float32
    torch.testing.assert_close(patterns.flatten(1).norm(dim=1), torch.ones(num_classes))
    for row in range(height):
        for column in range(width):
            assert torch.equal(patterns[..., row, column], patterns[..., row // 8 * 8, column // 8 * 8])
    # Vertices of a hypercube: all colours are one step above or below the image's.
    torch.testing.assert_close(patterns.abs(), torch.full_like(patterns, (channels * height * width) ** -0.5))
    assert len({tuple(pattern.flatten().tolist()) for pattern in patterns}) == num_classes


def test_every_vertex_is_taken_before_one_is_taken_twice() -> None:
    # One channel and two cells: (-1, -1), (-1, 1), (1, -1), (1, 1), over the root of 16 * 8 pixels.
    patterns = draw(4, (1, 8, 16))
    corners = (patterns[:, 0, 0, [0, 8]] * 128**0.5).round().int().tolist()
    assert sorted(corners) == [[-1, -1], [-1, 1], [1, -1], [1, 1]]


def test_a_linear_model_without_bias_tells_noisy_patterns_apart() -> None:
    patterns = draw(10, (3, 32, 32))
    random = torch.Generator().manual_seed(1)
    labels = torch.arange(10).repeat(20)
    noisy = patterns[labels] + 0.02 * torch.randn(200, 3, 32, 32, generator=random)
    weights = torch.zeros(10, 3 * 32 * 32)
    for _ in range(50):
        answers = (noisy.flatten(1) @ weights.T).argmax(dim=1)
        for sample in (answers != labels).nonzero().flatten().tolist():
            weights[labels[sample]] += noisy[sample].flatten()
            weights[answers[sample]] -= noisy[sample].flatten()
    # The perceptron saw noise as strong as the patterns; it holds for noise that it did not see.
    fresh = patterns[labels] + 0.02 * torch.randn(200, 3, 32, 32, generator=random)
    assert torch.equal((fresh.flatten(1) @ weights.T).argmax(dim=1), labels)


def test_the_generator_alone_decides() -> None:
    state = torch.get_rng_state()
    first, again, other = draw(3, (3, 20, 20), 5), draw(3, (3, 20, 20), 5), draw(3, (3, 20, 20), 6)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("error", "message", "num_classes", "shape"),
    [
        (
            ValueError,
            r"num_classes: LSP has 2\^3 patterns of 3 x 8 x 8 values, in 1 x 1 cells of 8 x 8 pixels, expected one for each "
            "of 9 classes",
            9,
            (3, 8, 8),
        ),
        (ValueError, "num_classes: expected at least 1, got 0", 0, (3, 8, 8)),
        (TypeError, "num_classes: expected an int, got 2.5", 2.5, (3, 8, 8)),
        (ValueError, r"shape: expected \(channels, height, width\), got \(8, 8\)", 2, (8, 8)),
        (ValueError, r"shape: expected \(channels, height, width\), got \(3, 0, 8\)", 2, (3, 0, 8)),
        (TypeError, r"shape: expected \(channels, height, width\), got 8", 2, 8),
    ],
)
def test_wrong_input(error: Any, message: str, num_classes: Any, shape: Any) -> None:
    with pytest.raises(error, match=message):
        draw(num_classes, shape)


def test_as_many_classes_as_there_are_vertices() -> None:
    assert draw(8, (3, 8, 8)).unique(dim=0).shape[0] == 8
