"""From a perturbation to whole levels: to the nearest one, within the budget."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mtlue._generator.bound import largest_float32
from mtlue._generator.rounding import add_in_levels, add_to_images, largest_level


def test_rounding_by_hand() -> None:
    old = torch.tensor([100, 100, 100, 100, 100, 100, 2, 254], dtype=torch.uint8)
    delta = torch.tensor([0.0, 7.9, -7.9, 3.5, -0.9, 8.0, -5.0, 5.0]) / 255
    assert add_in_levels(old, delta, 8 / 255).tolist() == [100, 108, 92, 104, 99, 108, 0, 255]
    assert add_in_levels(old, delta, 3.7 / 255).tolist() == [100, 103, 97, 103, 99, 103, 0, 255]
    assert add_in_levels(old, delta, 0.5 / 255).tolist() == old.tolist()


@pytest.mark.parametrize(
    ("epsilon", "level"), [(8 / 255, 8), (7.5 / 255, 7), (2 / 255, 2), (1.0, 255), (0.0314, 8), (1 / 256, 0)]
)
def test_a_perturbation_at_the_bound_is_whole_levels(epsilon: float, level: int) -> None:
    assert largest_level(epsilon) == level
    limit = largest_float32(epsilon)
    old = torch.tensor([0, 255], dtype=torch.uint8)
    assert add_in_levels(old, torch.tensor([limit, -limit]), epsilon).tolist() == [level, 255 - level]


def test_every_whole_level_is_kept() -> None:
    assert [largest_level(level / 255) for level in range(1, 256)] == list(range(1, 256))
    for level in range(1, 256):
        bound = torch.tensor([largest_float32(level / 255)])
        assert add_in_levels(torch.zeros(1, dtype=torch.uint8), bound, level / 255).item() == level


@settings(max_examples=50)
@given(st.integers(0, 255), st.floats(-1, 1, width=32), st.floats(1e-4, 1.0))
def test_rounding_is_to_the_nearest_level_within_budget(level: int, delta: float, epsilon: float) -> None:
    new = add_in_levels(torch.tensor([level], dtype=torch.uint8), torch.tensor([delta]), epsilon).item() - level
    limit = math.floor(255 * epsilon + 1e-9)
    assert abs(new) <= limit
    wanted = max(-level, min(255 - level, max(-limit, min(limit, delta * 255))))
    assert abs(new - wanted) <= 0.5 + 1e-3


def test_images_of_one_size_and_of_several_get_the_same() -> None:
    images = list(torch.randint(256, (3, 3, 6, 8), dtype=torch.uint8))
    deltas = (torch.rand(3, 3, 6, 8) - 0.5) / 10
    together = add_to_images(images, deltas, 8 / 255)
    larger = torch.randint(256, (3, 9, 9), dtype=torch.uint8)
    apart = add_to_images([*images, larger], torch.cat([deltas, deltas[:1]]), 8 / 255)
    assert all(torch.equal(one, other) for one, other in zip(together, apart, strict=False))
    assert apart[3].shape == larger.shape
    # Each can be kept or sent without the others.
    assert all(image.untyped_storage().nbytes() == image.numel() for image in together)
