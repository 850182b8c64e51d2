"""Read images in every form that a data set may give, and check them."""

from __future__ import annotations

from collections.abc import Collection

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from mtlue._runtime import constant


def read_image(image: object) -> Tensor:
    """Return an image as a tensor (C, H, W). uint8 stays uint8, floats become float32, a PIL image becomes uint8.

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
    # No gradient is needed at the user's image, and a worker cannot send a tensor that carries one.
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
        # Palette, CMYK, alpha: convert to what a viewer would show.
        image = image.convert("RGB")
    tensor: Tensor = pil_to_tensor(image)
    return tensor


def check_images(
    name: str, images: Tensor, *, channels: Collection[int] = (), may_be_bytes: bool = False, values: bool = True
) -> Tensor:
    """Return a batch of images, (B, C, H, W), floats in [0, 1].

    Args:
        name: Their name in messages.
        images: The caller's images.
        channels: Permitted numbers of channels. Empty permits any.
        may_be_bytes: Whether uint8 is permitted too.
        values: Whether to check the range, which makes a GPU wait.

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
    """Describe what is wrong with the values of an image, or return None. Values may leave the range by some slack."""
    if image.dtype == torch.uint8:
        return None
    low, high = (float(bound) for bound in image.aminmax())
    # False where one is not a number.
    if low >= -slack and high <= 1.0 + slack:
        return None
    return range_problem(low, high) if bool(image.isfinite().all()) else "the image holds NaN or infinity"


def range_problem(low: float, high: float) -> str | None:
    """Describe what is wrong with floats that range from ``low`` to ``high``, or return None."""
    if low >= 0.0 and high <= 1.0:
        return None
    if is_unscaled(low, high):
        return f"image values reach {high:.4g}, expected floats in [0, 1]; divide by 255, or give uint8"
    return (
        f"image values lie in [{low:.3g}, {high:.3g}], expected [0, 1]; a normalised image? Take the normalisation out of the "
        "data set and put it into the surrogate, such as torch.nn.Sequential(torchvision.transforms.Normalize(mean, std), net)"
    )


def is_unscaled(low: float, high: float) -> bool:
    """Return whether floats from ``low`` to ``high`` look like bytes that were not divided by 255."""
    return low >= 0.0 and high > 2.0


def to_unit_floats(images: Tensor) -> Tensor:
    """Convert uint8 to floats in [0, 1]. Floats do not change."""
    return images.float() / 255 if images.dtype == torch.uint8 else images


def to_bytes(images: Tensor) -> Tensor:
    """Return the nearest 8-bit image, as uint8."""
    return images if images.dtype == torch.uint8 else (images * 255).round().to(torch.uint8)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images (B, C, H, W). No value leaves the range of its neighbours, up to rounding, so bounds still hold."""
    if images.shape[-2:] == size:
        return images
    if not images.requires_grad:
        return F.interpolate(images, size=size, mode="bilinear", antialias=True)
    return resize_by_products(images, size)


def resize_by_products(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Do the same with a gradient that is the same each time.

    On a GPU that of interpolation is summed in any order, so equal seeds would not give equal results.
    """
    with torch.autocast(images.device.type, enabled=False):
        rows, columns = (_resizing(images, old, new) for old, new in zip(images.shape[-2:], size, strict=True))
        return rows @ images @ columns.T


@constant
def _resizing(old: int, new: int) -> Tensor:
    """How much each of ``new`` pixels takes of each of ``old`` ones, (new, old)."""
    rows = torch.eye(old, dtype=torch.float64, device="cpu").reshape(1, 1, old, old)
    return F.interpolate(rows, size=(new, old), mode="bilinear", antialias=True)[0, 0]
