"""Images with a number of channels that the caller chooses."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from mtlue._data import read_image

_MODES = {1: "L", 3: "RGB"}


def check_channels(channels: int | None) -> int | None:
    """Return the number of channels if it is 1, 3 or None.

    Raises:
        ValueError: it is another.
    """
    if channels is not None and (isinstance(channels, bool) or channels not in _MODES):
        raise ValueError(f"channels: expected 1, 3 or None, got {channels!r}")
    return channels


def read_channels(image: Any, channels: int | None) -> Tensor:
    """An image as `mtlue._data.read_image` gives it; a PIL image first with as many channels as asked for.

    Raises:
        TypeError: it is no image.
        ValueError: it has more than 8 bits a channel, or no form that can be read.
    """
    # Pillow would cut 16 bits and floats off at 255; those are left for read_image to refuse.
    if channels is not None and hasattr(image, "convert") and not image.mode.startswith(("I", "F")):
        image = image.convert(_MODES[channels])
    return read_image(image)
