"""Read images from files, and convert their channels and size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from typing import Any

from PIL import Image, ImageOps
from torch import Tensor

from mtlue._data import read_image, resize, to_unit_floats

_MODES = {1: "L", 3: "RGB"}


def check_channels(channels: int | None) -> int | None:
    """Return the number of channels if it is 1, 3 or None.

    Raises:
        ValueError: it is another value.
    """
    if channels is not None and (isinstance(channels, bool) or channels not in _MODES):
        raise ValueError(f"channels: expected 1, 3 or None, got {channels!r}")
    return channels


def read_channels(image: Any, channels: int | None) -> Tensor:
    """Read an image as `mtlue._data.read_image` does. A PIL image is first converted to the given number of channels.

    Raises:
        TypeError: it is not an image.
        ValueError: it has more than 8 bits a channel, or no form that can be read.
    """
    # Pillow would cut off 16 bits and floats at 255. `read_image` refuses those.
    if channels is not None and hasattr(image, "convert") and not image.mode.startswith(("I", "F")):
        image = image.convert(_MODES[channels])
    return read_image(image)


def upright(image: Image.Image) -> Image.Image:
    """Rotate an image as its EXIF data say, like a viewer."""
    return ImageOps.exif_transpose(image)


@contextmanager
def reading(path: str | PathLike[str], what: str, *, source: str = "") -> Iterator[None]:
    """Add to an error the file that could not be read, and where to get it if a source is given.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not what it should be, or is truncated.
    """
    hint = f"; {source}" if source else ""
    try:
        yield
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: not found{hint}") from None
    # A damaged file can raise any error; one that claims to be huge raises errors of memory.
    except Exception as error:
        raise ValueError(f"{path}: cannot be read as {what} ({error}){hint}") from error


def load_image(path: str, *, mode: str, source: str) -> Tensor:
    """Read an image file as floats in [0, 1]: (3, H, W) for the mode ``"RGB"``, (1, H, W) for ``"L"``.

    Raises what `reading` raises.
    """
    with reading(path, "an image", source=source), Image.open(path) as file:
        image = upright(file).convert(mode)
    return to_unit_floats(read_image(image))


def resize_image(image: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Resize an image (C, H, W) by antialiased bilinear interpolation. None leaves it unchanged."""
    # The weights sum to one only up to rounding, so values could leave the range.
    return image if size is None else resize(image.unsqueeze(0), size).squeeze(0).clamp(0.0, 1.0)
