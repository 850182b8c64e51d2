"""Pictures of where models look (figure 8 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from mtlue.analysis._figures import PICTURE, Figure, PathArgument, check_pictures, finished, picture_grid

_BAR = 0.12


def plot_gradcam(images: Tensor, maps: Tensor | Mapping[str, Tensor], path: PathArgument = None) -> Figure:
    """Plot images, and below them the same images under the maps of one or several models (figure 8).

    Args:
        images: Shape (B, C, H, W) with 1 or 3 channels, floats in [0, 1] or uint8.
        maps: Maps (B, H, W) in [0, 1] that `gradcam` returned for them, or a dict with the maps of each model by name.
        path: File to write; its ending decides the format. None writes nothing.

    Returns:
        A figure with a row of images, a row for each model, and a colour bar.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: images or maps have another shape or range.
        ImportError: Matplotlib is not installed.

    Example:
        >>> import torch
        >>> from mtlue import analysis
        >>> figure = analysis.plot_gradcam(torch.rand(4, 3, 8, 8), torch.rand(4, 8, 8))
        >>> len(figure.axes)  # two rows of four, and the colour bar
        9
    """
    pictures = check_pictures("images", images)
    by_model = dict(maps) if isinstance(maps, Mapping) else {"GradCAM": maps}
    if not by_model:
        raise ValueError("maps: expected the maps of at least one model, got an empty dict")
    for name, each in by_model.items():
        _check_maps(name, each, pictures)
    # In grey below the maps, so that all colour comes from the maps.
    grey = [picture.mean(dim=0, keepdim=True) for picture in pictures]
    figure, grid = picture_grid([("image", list(pictures)), *((str(name), grey) for name in by_model)])
    for row, each in zip(grid[1:], by_model.values(), strict=True):
        for axes, values in zip(row, each.detach().cpu().float(), strict=True):
            shown = axes.imshow(values.numpy(), cmap="inferno", vmin=0.0, vmax=1.0, alpha=0.6, interpolation="bilinear")
    # As high as all rows together, and equally wide for any number of pictures.
    height = len(grid) * PICTURE * pictures.shape[-2] / pictures.shape[-1]
    bar = figure.colorbar(
        shown,
        ax=[axes for row in grid for axes in row],
        fraction=_BAR / (PICTURE * len(pictures)),
        aspect=height / _BAR,
        pad=0.02,
        ticks=[0.0, 0.5, 1.0],
    )
    bar.set_label("relevance")
    return finished(figure, path)


def _check_maps(name: str, maps: object, images: Tensor) -> None:
    if not isinstance(maps, Tensor) or not maps.is_floating_point():
        got = str(maps.dtype) if isinstance(maps, Tensor) else type(maps).__name__
        raise TypeError(f"maps: {name!r}: expected a tensor of floats, got {got}")
    expected = (len(images), *images.shape[-2:])
    if maps.shape != expected:
        raise ValueError(f"maps: {name!r}: expected shape {expected}, got {tuple(maps.shape)}")
    if not bool(((maps >= 0) & (maps <= 1)).all()):
        raise ValueError(f"maps: {name!r}: expected values in [0, 1], got {float(maps.min()):.3g} to {float(maps.max()):.3g}")
