"""JPEG with a gradient: near the encoder forward, and its gradient worked out by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from mtlue._runtime.device import autocast
from mtlue.defenses import differentiable_jpeg, jpeg
from multi_fashion import MultiFashion

LUMA_AT_50 = [
    [16, 11, 10, 16, 24, 40, 51, 61],
    [12, 12, 14, 19, 26, 58, 60, 55],
    [14, 13, 16, 24, 40, 57, 69, 56],
    [14, 17, 22, 29, 51, 87, 80, 62],
    [18, 22, 37, 56, 68, 109, 103, 77],
    [24, 35, 55, 64, 81, 104, 113, 92],
    [49, 64, 78, 87, 103, 121, 120, 101],
    [72, 92, 95, 98, 112, 100, 103, 99],
]


def photographs(channels: int, height: int = 32, width: int = 32) -> Tensor:
    canvases = MultiFashion(3 * channels, train=True).images.float() / 255
    return canvases.reshape(3, channels, 32, 32)[..., :height, :width]


@pytest.mark.parametrize("quality", [10, 50, 95])
@pytest.mark.parametrize(("height", "width"), [(32, 32), (27, 17), (5, 9)])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_near_the_encoder(channels: int, height: int, width: int, quality: int) -> None:
    images = photographs(channels, height, width)
    seen, real = differentiable_jpeg(images, quality), jpeg(images, quality=quality)
    assert seen.shape == images.shape
    # Colours of unrelated drawings are beyond what files can hold, and clamping is where decoders differ.
    assert 255 * (seen - real).abs().mean() < (1.2 if channels == 1 else 3.0)
    if quality < 95:
        assert (seen - real).abs().mean() < 0.25 * (images - real).abs().mean()


def literal(block: Tensor) -> Tensor:
    """One block at quality 50, by the definition of the cosine transform, with soft rounding."""
    levels = block * 255 - 128
    shown = torch.zeros(8, 8)
    for row in range(8):
        for column in range(8):
            cosines = torch.tensor([
                [
                    math.cos((2 * y + 1) * row * math.pi / 16) * math.cos((2 * x + 1) * column * math.pi / 16) / 4
                    for x in range(8)
                ]
                for y in range(8)
            ])
            cosines = cosines / math.sqrt(2) ** ((row == 0) + (column == 0))
            coefficient = (levels * cosines).sum() / LUMA_AT_50[row][column]
            whole = coefficient.detach().round()
            rest = (coefficient - whole) ** 3
            shown = shown + (whole + rest - rest.detach()) * LUMA_AT_50[row][column] * cosines
    return ((shown + 128) / 255).clamp(0, 1)


def test_value_and_gradient_are_those_of_the_definition() -> None:
    block = photographs(1)[:1, :, 8:16, 8:16].clone().requires_grad_(True)
    weights = torch.linspace(-1, 1, 64).reshape(8, 8)
    expected = literal(block[0, 0])
    seen = differentiable_jpeg(block, 50)[0, 0]
    torch.testing.assert_close(seen, expected)
    gradients = [torch.autograd.grad((each * weights).sum(), block)[0] for each in (seen, expected)]
    assert gradients[1].abs().sum() > 0
    torch.testing.assert_close(*gradients)


def test_gradients_reach_all_channels_and_odd_borders() -> None:
    images = (0.25 + photographs(3, 27, 17) / 2).requires_grad_(True)
    (gradient,) = torch.autograd.grad(differentiable_jpeg(images).square().sum(), images)
    assert gradient.isfinite().all()
    assert (gradient.abs().sum(dim=(0, 2, 3)) > 0).all()
    assert gradient[..., -1, -1].abs().sum() > 0


def test_it_computes_in_full_precision() -> None:
    images = photographs(3)
    expected = differentiable_jpeg(images)
    with autocast(torch.device("cpu"), torch.bfloat16):
        assert torch.equal(differentiable_jpeg(images), expected)
    coarse = images.bfloat16()
    seen = differentiable_jpeg(coarse)
    assert seen.dtype == torch.bfloat16
    assert torch.equal(seen, differentiable_jpeg(coarse.float()).bfloat16())
    assert differentiable_jpeg(images.double()).dtype == torch.float64


@pytest.mark.parametrize(
    ("images", "quality", "kind", "message"),
    [
        (torch.rand(1, 4, 8, 8), 10, ValueError, r"^images: expected shape \(B, C, H, W\) with 1 or 3 channels, got \(1, 4"),
        (torch.rand(3, 8, 8), 10, ValueError, r"^images: expected shape \(B, C, H, W\), got \(3, 8, 8\)$"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), 10, TypeError, r"^images: expected a tensor of floats"),
        (torch.rand(1, 3, 8, 8), 0, ValueError, r"^quality: expected at least 1, got 0$"),
        (torch.rand(1, 3, 8, 8), 101, ValueError, r"^quality: expected 1 to 100, got 101$"),
        (torch.rand(1, 3, 8, 8), 9.5, TypeError, r"^quality: expected an int, got 9.5$"),
    ],
)
def test_what_is_wrong_is_named(images: Tensor, quality: int, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        differentiable_jpeg(images, quality)
