"""JPEG with a gradient."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue._checks import check_count
from mtlue._data.images import check_images, resize_by_products
from mtlue._runtime import constant

# The tables of the standard's annex K, by rows.
_LUMA = (
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
)  # fmt: skip
_CHROMA = (17, 18, 24, 47, *(4 * [99]), 18, 21, 26, 66, *(4 * [99]), 24, 26, 56, *(5 * [99]), 47, 66, *(38 * [99]))
_TO_YCC = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))
_TO_RGB = ((1.0, 0.0, 1.402), (1.0, -0.344136, -0.714136), (1.0, 1.772, 0.0))


def differentiable_jpeg(images: Tensor, quality: int = 10) -> Tensor:
    """Compress images like JPEG, with a gradient that shows what survives it.

    It gives the result of `mtlue.defenses.jpeg`, up to a level here and there, and is fast enough for every step of a training.
    Forward, coefficients are rounded as the encoder rounds them. Backward, rounding counts as round(x) + (x - round(x))³ (Shin
    and Song, 2017), so little gradient reaches a coefficient that cannot move to the next step.

    Args:
        images: Images in [0, 1], (B, C, H, W), with one channel or three. Values are not checked.
        quality: JPEG's own quality, 1 to 100. As in most encoders, colours are stored at half the size.

    Returns:
        Images of the same shape and type, on the same device. The computation is in float32, even under autocast.

    Raises:
        TypeError: ``images`` are not floats, or ``quality`` is not an integer.
        ValueError: ``images`` have another shape, or ``quality`` is out of range.

    Example:
        >>> import torch
        >>> from mtlue.defenses import differentiable_jpeg, jpeg
        >>> images = torch.linspace(0, 1, 32 * 32).reshape(1, 1, 32, 32).requires_grad_(True)
        >>> seen = differentiable_jpeg(images, quality=50)
        >>> bool((seen - jpeg(images, quality=50)).abs().mean() < 1 / 255)
        True
        >>> torch.autograd.grad(seen.sum(), images)[0].shape
        torch.Size([1, 1, 32, 32])
    """
    check_images("images", images, channels=(1, 3), values=False)
    check_quality(quality)
    height, width = images.shape[-2:]
    with torch.autocast(images.device.type, enabled=False):
        levels = images.float() * 255
        levels = _padded(_padded(levels, -height % 16, dim=-2), -width % 16, dim=-1)
        if images.shape[1] == 1:
            decoded = _squeezed(levels - 128, _LUMA, quality) + 128
        else:
            luma, colours = _mixed(levels, _TO_YCC).split((1, 2), dim=1)
            luma = _squeezed(luma - 128, _LUMA, quality) + 128
            size = (luma.shape[-2], luma.shape[-1])
            colours = resize_by_products(_squeezed(F.avg_pool2d(colours, 2), _CHROMA, quality), size)
            decoded = _mixed(torch.cat([luma, colours], dim=1), _TO_RGB)
        return (decoded[..., :height, :width] / 255).clamp(0.0, 1.0).to(images.dtype)


def check_quality(quality: int) -> int:
    """Return a quality on JPEG's own scale.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is out of range.
    """
    if check_count("quality", quality, minimum=1) > 100:
        raise ValueError(f"quality: expected 1 to 100, got {quality}")
    return quality


def _padded(images: Tensor, more: int, *, dim: int) -> Tensor:
    """Repeat the last row or column. On a GPU, the gradient of `F.pad` would be summed in any order."""
    last = images.narrow(dim, images.shape[dim] - 1, 1)
    return torch.cat([images, last.repeat_interleave(more, dim=dim)], dim=dim) if more else images


def _mixed(images: Tensor, weights: tuple[tuple[float, ...], ...]) -> Tensor:
    """Return three channels as sums of three others."""
    return torch.einsum("kc,bchw->bkhw", _weights(images, weights), images)


@constant
def _weights(weights: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.tensor(weights, dtype=torch.float64, device="cpu")


@constant
def _steps(table: tuple[int, ...], quality: int) -> Tensor:
    """What coefficients are rounded to multiples of, (64,)."""
    scale = 5000 / quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(table, device="cpu") * scale + 50) / 100).floor().clamp(1, 255)


@constant
def _cosines() -> Tensor:
    """From a block, as a vector, to its coefficients: rows and columns at once, (64, 64)."""
    places = torch.arange(8, dtype=torch.float64, device="cpu")
    frequencies = places.unsqueeze(1)
    cosines = torch.cos((2 * places + 1) * frequencies * math.pi / 16) / 2
    cosines[0] /= math.sqrt(2)
    return torch.kron(cosines, cosines)


def _squeezed(channels: Tensor, table: tuple[int, ...], quality: int) -> Tensor:
    """Pass each block of 8 x 8 through cosines, rounding to multiples of a table, and back."""
    batch, count, height, width = channels.shape
    transform, steps = _cosines(channels), _steps(channels, table, quality)
    blocks = channels.reshape(batch, count, height // 8, 8, width // 8, 8).transpose(3, 4).reshape(-1, 64)
    rounded: Tensor = _Rounding.apply(blocks @ transform.T / steps) * steps
    back = (rounded @ transform).reshape(batch, count, height // 8, width // 8, 8, 8)
    return back.transpose(3, 4).reshape(channels.shape)


class _Rounding(torch.autograd.Function):
    """Rounding with the derivative 3 (x - round(x))²."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        whole = values.round()
        ctx.save_for_backward(values - whole)
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (rest,) = ctx.saved_tensors
        derivative: Tensor = 3 * rest.square()
        return derivative * gradients[0]
