"""Resizing with a gradient, and the constants that it takes."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode

from mtlue._data.images import resize
from mtlue._runtime import constant


@pytest.mark.parametrize(("size", "new"), [((9, 6), (18, 12)), ((35, 35), (70, 70)), ((70, 50), (35, 25)), ((9, 9), (20, 4))])
def test_with_a_gradient_it_gives_what_interpolation_gives(size: tuple[int, int], new: tuple[int, int]) -> None:
    images, weights = torch.rand(2, 3, *size), torch.rand(2, 3, *new)
    ways = (lambda each: resize(each, new), lambda each: F.interpolate(each, size=new, mode="bilinear", antialias=True))
    leaves = [images.clone().requires_grad_(True) for _ in ways]
    results = [way(leaf) for way, leaf in zip(ways, leaves, strict=True)]
    torch.testing.assert_close(*results)
    assert torch.equal(results[1], resize(images, new))
    gradients = [torch.autograd.grad((weights * each).sum(), leaf)[0] for each, leaf in zip(results, leaves, strict=True)]
    torch.testing.assert_close(*gradients)


def test_a_constant_is_made_once_and_fit_for_gradients() -> None:
    made = []

    @constant
    def numbers(count: int) -> Tensor:
        made.append(count)
        return torch.arange(float(count))

    # torch.compile and others put something else in place of tensors: not to be kept.
    with FakeTensorMode():
        assert isinstance(numbers(torch.zeros(()), 3), FakeTensor)
    made.clear()
    with torch.inference_mode():
        first = numbers(torch.zeros(()), 3)
    assert numbers(torch.ones(2), 3) is first
    assert numbers(torch.zeros((), dtype=torch.float64), 3).dtype == torch.float64
    assert made == [3, 3]
    leaf = torch.ones(3, requires_grad=True)
    (leaf * first).sum().backward()
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, torch.tensor([0.0, 1.0, 2.0]))
