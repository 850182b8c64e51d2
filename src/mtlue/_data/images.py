"""Images in every form that a data set may give, and what can be wrong with them."""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor


def read_image(image: object) -> Tensor:
    """An image as a tensor (C, H, W): uint8 stays uint8, floats become float32, a PIL image becomes uint8.

    Raises:
        TypeError: it is none of these.
        ValueError: it does not have two or three axes, is empty, or is channels-last.
    """
    if not isinstance(image, Tensor):
        image = _read_pil(image)
    if image.dtype != torch.uint8 and not image.is_floating_point():
        raise TypeError(f"expected a float tensor in [0, 1], a uint8 tensor or a PIL image, got a tensor of {image.dtype}")
    if image.ndim == 2:
        image = image.unsqueeze(0)
    if image.ndim != 3 or 0 in image.shape:
        raise ValueError(f"expected an image of shape (C, H, W), got {tuple(image.shape)}")
    if image.shape[-1] in (1, 3, 4) and image.shape[0] > 8:
        raise ValueError(f"expected an image of shape (C, H, W), got {tuple(image.shape)}, which looks like (H, W, C)")
    # Nothing that is learned from an image changes it, and a worker cannot send what carries a gradient.
    return image if image.dtype == torch.uint8 else image.detach().float()


def _read_pil(image: object) -> Tensor:
    # Duck-typed, so that the check works with every fork of Pillow.
    if not hasattr(image, "getbands") or not hasattr(image, "convert"):
        raise TypeError(
            f"expected a float tensor in [0, 1], a uint8 tensor or a PIL image, got {type(image).__name__}"
            + ("; torch.from_numpy turns an array into a tensor" if type(image).__name__ == "ndarray" else "")
        )
    mode = getattr(image, "mode", "")
    if mode == "1":
        image = image.convert("L")
    elif mode not in ("L", "RGB"):
        if mode.startswith(("I", "F")):
            raise ValueError(f"expected an 8-bit image, got PIL mode {mode!r}")
        # Palette, CMYK, alpha: what a viewer would show.
        image = image.convert("RGB")
    tensor: Tensor = pil_to_tensor(image)
    return tensor


def check_images(
    name: str, images: Tensor, *, channels: Collection[int] = (), may_be_bytes: bool = False, values: bool = True
) -> Tensor:
    """Return a batch of images, (B, C, H, W), floats in [0, 1].

    Args:
        name: What a message calls them.
        images: What the caller gave.
        channels: Numbers of channels that will do; empty for any.
        may_be_bytes: Whether uint8 will do too.
        values: Whether to look at the range, for which a GPU has to be waited for.

    Raises:
        TypeError: they are not a tensor of floats.
        ValueError: they have another shape, or values out of range.
    """
    kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
    if not isinstance(images, Tensor) or not (images.is_floating_point() or (may_be_bytes and kind == torch.uint8)):
        raise TypeError(f"{name}: expected a tensor of floats in [0, 1]{' or of uint8' if may_be_bytes else ''}, got {kind}")
    if images.ndim != 4 or (channels and images.shape[1] not in channels):
        wanted = f"(B, {next(iter(channels))}, H, W)" if len(channels) == 1 else "(B, C, H, W)"
        if images.ndim == 4 and len(channels) > 1:
            wanted += f" with {' or '.join(map(str, channels))} channels"
        raise ValueError(f"{name}: expected shape {wanted}, got {tuple(images.shape)}")
    # Resizing may leave the range by a rounding error. NaN is refused too.
    problem = image_problem(images.detach(), slack=1e-5) if values and images.numel() else None
    if problem is not None:
        raise ValueError(f"{name}: {problem}")
    return images


def image_problem(image: Tensor, *, slack: float = 0.0) -> str | None:
    """What is wrong with the values of an image, or None; they may leave the range by some slack."""
    if image.dtype == torch.uint8:
        return None
    if not bool(image.isfinite().all()):
        return "the image holds NaN or infinity"
    low, high = (float(bound) for bound in image.aminmax())
    return None if low >= -slack and high <= 1.0 + slack else range_problem(low, high)


def range_problem(low: float, high: float) -> str | None:
    """What is wrong with floats that reach from ``low`` to ``high``, or None."""
    if low >= 0.0 and high <= 1.0:
        return None
    if is_unscaled(low, high):
        return f"image values reach {high:.4g}, expected floats in [0, 1]; divide by 255, or give uint8"
    return (
        f"image values lie in [{low:.3g}, {high:.3g}], expected [0, 1]; a normalised image? Take the normalisation out of the "
        "data set and put it into the surrogate, such as torch.nn.Sequential(torchvision.transforms.Normalize(mean, std), net)"
    )


def is_unscaled(low: float, high: float) -> bool:
    """Whether floats that reach from ``low`` to ``high`` are bytes that were not divided by 255."""
    return low >= 0.0 and high > 2.0


def to_unit_floats(images: Tensor) -> Tensor:
    """Floats in [0, 1] from uint8; floats stay as they are."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def to_bytes(images: Tensor) -> Tensor:
    """The nearest 8-bit image, as uint8."""
    return images if images.dtype == torch.uint8 else (images * 255).round().to(torch.uint8)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Images (B, C, H, W) at another size. No value leaves the range of its neighbours, so that a bound on them stays."""
    if images.shape[-2:] == size:
        return images
    return F.interpolate(images, size=size, mode="bilinear", antialias=True)
