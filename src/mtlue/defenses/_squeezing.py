"""The three image shortcut squeezings: grey images, fewer levels a channel, JPEG."""

from __future__ import annotations

from io import BytesIO

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor, to_pil_image

from mtlue._checks import check_count
from mtlue._data import check_images, check_quality, to_bytes, to_unit_floats

# Luma of ITU-R BT.601, which JPEG and most libraries use.
_LUMA = (0.299, 0.587, 0.114)


def grayscale(images: Tensor) -> Tensor:
    """Replace each channel by the luma of ITU-R BT.601.

    One of the three image shortcut squeezings of Liu et al. (2023).

    Args:
        images: Images in [0, 1], (B, C, H, W), RGB or with one channel. One channel is left unchanged.

    Returns:
        Images of the same shape.

    Raises:
        TypeError: ``images`` are not floats.
        ValueError: ``images`` have another shape or range.

    Example:
        >>> import torch
        >>> from mtlue.defenses import grayscale
        >>> red = torch.tensor([1.0, 0.0, 0.0]).reshape(1, 3, 1, 1)
        >>> grayscale(red).flatten()
        tensor([0.2990, 0.2990, 0.2990])
    """
    check_images("images", images, channels=(1, 3))
    if images.shape[1] == 1:
        return images
    weights = images.new_tensor(_LUMA).reshape(1, 3, 1, 1)
    # The three weights sum to one only up to rounding.
    return (images * weights).sum(dim=1, keepdim=True).clamp(0.0, 1.0).repeat(1, 3, 1, 1)


def bit_depth(images: Tensor, bits: int = 2) -> Tensor:
    """Keep only the first bits of each 8-bit value, and set the others to 0 (posterizing).

    One of the three image shortcut squeezings of Liu et al. (2023), who use two bits.

    Args:
        images: Images in [0, 1], (B, C, H, W).
        bits: Bits for each channel, 1 to 8.

    Returns:
        Images of the same shape.

    Raises:
        TypeError: ``images`` are not floats, or ``bits`` is not an integer.
        ValueError: ``images`` have another shape or range, or ``bits`` is out of range.

    Example:
        >>> import torch
        >>> from mtlue.defenses import bit_depth
        >>> bit_depth(torch.tensor([0.0, 0.2, 0.6, 1.0]).reshape(1, 1, 2, 2)).flatten()
        tensor([0.0000, 0.0000, 0.5020, 0.7529])
    """
    check_images("images", images)
    if check_count("bits", bits, minimum=1) > 8:
        raise ValueError(f"bits: expected 1 to 8, got {bits}")
    kept = 256 - (1 << (8 - bits))
    return to_unit_floats(to_bytes(images.clamp(0.0, 1.0)) & kept).to(images.dtype)


def jpeg(images: Tensor, quality: int = 10) -> Tensor:
    """Compress images with a real JPEG encoder and decoder, in memory.

    One of the three image shortcut squeezings of Liu et al. (2023), who use quality 10.

    Args:
        images: Images in [0, 1], (B, C, H, W), with one channel or three, on any device; the encoder works on the CPU.
        quality: JPEG's own quality, 1 to 100.

    Returns:
        Images of the same shape, type and device; their values are multiples of 1/255.

    Raises:
        TypeError: ``images`` are not floats, or ``quality`` is not an integer.
        ValueError: ``images`` have another shape or range, or ``quality`` is out of range.

    Example:
        >>> import torch
        >>> from mtlue.defenses import jpeg
        >>> jpeg(torch.rand(2, 3, 16, 16), quality=50).shape
        torch.Size([2, 3, 16, 16])
    """
    check_images("images", images, channels=(1, 3))
    check_quality(quality)
    if not images.numel():
        return images
    decoded = [_round_trip(image, quality) for image in to_bytes(images.detach().float().clamp(0.0, 1.0)).cpu()]
    return to_unit_floats(torch.stack(decoded).to(images.device)).to(images.dtype)


def _round_trip(image: Tensor, quality: int) -> Tensor:
    # Through Pillow, which torchvision requires: torchvision's own encoder is being removed.
    file = BytesIO()
    to_pil_image(image).save(file, format="JPEG", quality=quality)
    decoded: Tensor = pil_to_tensor(Image.open(file))
    return decoded
