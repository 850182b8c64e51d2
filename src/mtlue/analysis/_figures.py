"""What all plots share: figures without global state, colours, and grids of pictures."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from torch import Tensor

from mtlue._data import check_images, to_unit_floats
from mtlue._runtime import require

if TYPE_CHECKING:
    import matplotlib.figure
    from matplotlib.axes import Axes

Figure: TypeAlias = "matplotlib.figure.Figure"
PathArgument: TypeAlias = "str | os.PathLike[str] | None"

# Okabe and Ito's colours, which colour-blind people can tell apart, with dark brown instead of yellow, which is faint on white.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#6B4423")
# One more than colours, so that the first 72 pairs of both differ.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "h")
# Width of a picture in a grid, in inches.
PICTURE = 1.3
_DPI = 150


def look_of(index: int) -> tuple[str, str]:
    """Return the colour and the marker of a curve or a group of points."""
    return COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]


def new_figure(width: float, height: float) -> Figure:
    """Make an empty figure of a size in inches. No window and no list of open figures holds it.

    Raises:
        ImportError: Matplotlib is not installed.
    """
    figure: Figure = require("matplotlib.figure", extra="plot").Figure(figsize=(width, height))
    figure.set_layout_engine("constrained", w_pad=0.1)
    return figure


def finished(figure: Figure, path: PathArgument) -> Figure:
    """Write the figure to the path, if there is one, and return it. The path's ending decides the format."""
    if path is not None:
        figure.savefig(Path(path), dpi=_DPI, facecolor="white", bbox_inches="tight", pad_inches=0.05)
    return figure


def tidy(axes: Axes) -> Axes:
    """Remove the frame on the right and at the top of a chart, and draw a faint grid behind it."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


def picture_grid(rows: Sequence[tuple[str, Sequence[Tensor]]]) -> tuple[Figure, list[list[Axes]]]:
    """Draw a row of pictures (C, H, W) in [0, 1] beside each label. Each picture is `PICTURE` wide."""
    columns, (height, width) = len(rows[0][1]), rows[0][1][0].shape[-2:]
    figure = new_figure(PICTURE * columns + 1.3, PICTURE * len(rows) * height / width + 0.1)
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.02, wspace=0.0, hspace=0.0, compress=True)
    grid: list[list[Axes]] = figure.subplots(len(rows), columns, squeeze=False).tolist()
    for (label, pictures), places in zip(rows, grid, strict=True):
        places[0].set_ylabel(label, rotation=0, ha="right", va="center")
        for axes, picture in zip(places, pictures, strict=True):
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
            _show(axes, picture)
    return figure, grid


def _show(axes: Axes, image: Tensor) -> None:
    # Grey for one channel, colour for three.
    pixels = image.detach().cpu().float()
    if len(pixels) == 1:
        axes.imshow(pixels[0].numpy(), cmap="gray", vmin=0.0, vmax=1.0, interpolation="nearest")
    else:
        axes.imshow(pixels.permute(1, 2, 0).numpy(), interpolation="nearest")


def check_pictures(name: str, images: Tensor) -> Tensor:
    """Return images (B, C, H, W) that can be shown, as floats in [0, 1]. Raises what `check_images` raises."""
    return to_unit_floats(check_images(name, images, channels=(1, 3), may_be_bytes=True))
