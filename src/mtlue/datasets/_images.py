"""Images from files, and their size."""

from __future__ import annotations

from PIL import Image
from torch import Tensor

from mtlue._data import read_image, resize, to_unit_floats


def load_image(path: str, *, mode: str, source: str) -> Tensor:
    """An image file as floats in [0, 1], (3, H, W) for the mode ``"RGB"`` and (1, H, W) for ``"L"``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image, or is cut short.
    """
    try:
        with Image.open(path) as file:
            image = file.convert(mode)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: not found; {source}") from None
    # Pillow says SyntaxError of a broken PNG.
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"{path}: cannot be read as an image ({error}); {source}") from error
    return to_unit_floats(read_image(image))


def resize_image(image: Tensor, size: tuple[int, int] | None) -> Tensor:
    """An image (C, H, W) by antialiased bilinear interpolation; None leaves it as it is."""
    # Weights that sum to one but for rounding could leave the range.
    return image if size is None else resize(image.unsqueeze(0), size).squeeze(0).clamp(0.0, 1.0)
