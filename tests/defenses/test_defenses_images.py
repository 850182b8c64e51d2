"""Defences that are functions on images: JPEG, grey, fewer bits."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import partial

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from mtlue.defenses import Defense, Preprocessing, as_defense, bit_depth, grayscale, jpeg
from multi_fashion import MultiFashion

FUNCTIONS = [jpeg, grayscale, bit_depth]


def photographs(channels: int) -> Tensor:
    canvases = MultiFashion(3 * channels, train=True).images.float() / 255
    return canvases.reshape(3, channels, 32, 32)


def high_frequencies(images: Tensor) -> Tensor:
    """Energy above half the highest frequency along either axis."""
    spectrum = torch.fft.fft2(images).abs() ** 2
    high = torch.fft.fftfreq(images.shape[-1]).abs() > 0.25
    return (spectrum * (high[:, None] | high)).sum()


def literal_jpeg(images: Tensor, quality: int) -> Tensor:
    """Each image through a file's bytes."""
    decoded = []
    for image in images:
        file = io.BytesIO()
        to_pil_image((image * 255).round().byte()).save(file, "JPEG", quality=quality)
        decoded.append(pil_to_tensor(Image.open(io.BytesIO(file.getvalue()))).float() / 255)
    return torch.stack(decoded)


@pytest.mark.parametrize("channels", [1, 3])
def test_jpeg_is_what_a_file_would_give_and_drops_high_frequencies(channels: int) -> None:
    images = photographs(channels)
    noisy = (images + 0.1 * torch.randn(images.shape, generator=torch.Generator().manual_seed(0))).clamp(0, 1)
    small = jpeg(noisy)
    assert torch.equal(small, literal_jpeg(noisy, 10))
    assert torch.equal(small, jpeg(noisy))
    assert high_frequencies(small) < 0.5 * high_frequencies(noisy)
    assert (small - images).abs().mean() < 0.1
    errors = [(jpeg(noisy, quality=quality) - noisy).abs().mean() for quality in (1, 10, 50, 100)]
    assert errors == sorted(errors, reverse=True)


def test_jpeg_takes_a_flat_image_through_unchanged() -> None:
    flat = torch.full((1, 1, 8, 8), 128 / 255)
    torch.testing.assert_close(jpeg(flat, quality=90), flat)


def test_grey_is_the_luma_of_bt_601() -> None:
    primaries = torch.eye(3).reshape(3, 3, 1, 1)
    torch.testing.assert_close(grayscale(primaries).squeeze(), torch.tensor([0.299, 0.587, 0.114])[:, None].expand(3, 3))
    torch.testing.assert_close(
        grayscale(torch.tensor([0.5, 0.25, 1.0]).reshape(1, 3, 1, 1)).flatten(),
        torch.full((3,), 0.5 * 0.299 + 0.25 * 0.587 + 0.114),
    )
    assert torch.equal(grayscale(grey := photographs(1)), grey)
    assert grayscale(torch.ones(1, 3, 2, 2)).max() <= 1.0


def test_bit_depth_keeps_the_first_bits() -> None:
    values = torch.tensor([0, 63, 64, 100, 127, 128, 250, 255]).reshape(1, 1, 2, 4) / 255
    assert torch.equal((bit_depth(values).flatten() * 255).round(), torch.tensor([0.0, 0, 64, 64, 64, 128, 192, 192]))
    assert torch.equal((bit_depth(values, bits=1).flatten() * 255).round(), torch.tensor([0.0, 0, 0, 0, 0, 128, 128, 128]))
    every = (torch.arange(256) / 255).reshape(1, 1, 16, 16)
    torch.testing.assert_close(bit_depth(every, bits=8), every)
    for bits in range(1, 9):
        assert len(bit_depth(every, bits=bits).unique()) == 2**bits


@pytest.mark.parametrize("function", FUNCTIONS)
def test_shape_type_range_and_input_stay(function: Callable[[Tensor], Tensor]) -> None:
    for channels in (1, 3):
        images = photographs(channels)[..., :31, :17]
        before = images.clone()
        result = function(images)
        assert result.shape == images.shape
        assert result.dtype == torch.float32
        assert 0 <= result.min() <= result.max() <= 1
        assert torch.equal(images, before)
    rounded = torch.full((1, 3, 4, 4), 1.0 + 1e-6)
    assert 0.7 < function(rounded).max() <= 1.0
    assert function(torch.rand(0, 3, 4, 4)).shape == (0, 3, 4, 4)
    assert function(torch.rand(1, 3, 4, 4).half()).dtype == torch.float16


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (torch.rand(3, 8, 8), ValueError, "images: expected shape \\(B, C, H, W\\), got \\(3, 8, 8\\)"),
        (torch.rand(2, 3, 8, 8) * 255, ValueError, "images: image values reach .*, expected floats in \\[0, 1\\]"),
        (torch.rand(2, 3, 8, 8) - 0.5, ValueError, "images: image values lie in .*, expected \\[0, 1\\]"),
        (torch.full((1, 3, 8, 8), torch.nan), ValueError, "images: the image holds NaN or infinity"),
        (torch.zeros(2, 3, 8, 8, dtype=torch.uint8), TypeError, "images: expected a tensor of floats .* got torch.uint8"),
        ([0.5], TypeError, "images: expected a tensor of floats .* got list"),
    ],
)
def test_wrong_images(function: Callable[[object], Tensor], images: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        function(images)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda images: jpeg(images, quality=0), "quality: expected at least 1, got 0"),
        (lambda images: jpeg(images, quality=101), "quality: expected 1 to 100, got 101"),
        (lambda images: bit_depth(images, bits=0), "bits: expected at least 1, got 0"),
        (lambda images: bit_depth(images, bits=9), "bits: expected 1 to 8, got 9"),
        (lambda images: jpeg(images[:, :2]), "images: expected shape .* 1 or 3 channels, got \\(1, 2, 4, 4\\)"),
        (lambda images: grayscale(images[:, :2]), "images: expected shape .* 1 or 3 channels, got \\(1, 2, 4, 4\\)"),
    ],
)
def test_wrong_arguments(call: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(torch.rand(1, 3, 4, 4))


def test_a_function_is_a_defense_with_its_name() -> None:
    defense = as_defense(jpeg)
    images = photographs(3)
    assert isinstance(defense, Preprocessing)
    assert torch.equal(defense.images(images), jpeg(images))
    assert defense.name == "jpeg"
    sweep = as_defense(partial(jpeg, quality=50))
    assert sweep.name == "jpeg(quality=50)"
    assert torch.equal(sweep.images(images), jpeg(images, quality=50))
    assert repr(sweep) == "Preprocessing(jpeg(quality=50))"
    assert as_defense(defense) is defense
    assert type(as_defense(None)) is Defense
    with pytest.raises(TypeError, match="defense: expected a Defense or a function on images, got 'jpeg'"):
        as_defense("jpeg")  # type: ignore[arg-type]  # wrong on purpose
