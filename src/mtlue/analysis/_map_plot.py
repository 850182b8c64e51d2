"""Pictures of label maps and of what models answer for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue._runtime.extras import require
from mtlue._tasks import Depth, Segmentation, SurfaceNormals, Task, Tasks, resolve_tasks
from mtlue.analysis._figures import PathArgument, check_pictures, finished, picture_grid, show_picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_KINDS = (Segmentation, Depth, SurfaceNormals)


def plot_maps(images: Tensor, maps: Mapping[str, Mapping[str, Tensor]], path: PathArgument = None, *, tasks: Tasks) -> Figure:
    """Images, and below them what each of several sources says of each task whose labels are maps.

    A class has one colour in all pictures, a distance likewise; normals are shown with x, y and z as red, green and blue. White
    is where there is no label.

    Args:
        images: Shape (B, C, H, W) with 1 or 3 channels, floats in [0, 1] or uint8.
        maps: By source, such as ``"truth"`` and the names of models, then by task: targets, or what a model answers, as
            `mtlue.Surrogate` gives it. Distances are scaled to those of the first source.
        path: File to write; its ending says in which format. None writes nothing.
        tasks: The tasks; classes of whole images among them are left out.

    Returns:
        A figure with a row of images, and a row for each task and source.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: images or maps have another shape or range, a source lacks a task, or no task has maps of a known kind.
        ImportError: Matplotlib is not installed.

    Example:
        >>> import torch, mtlue
        >>> from mtlue import analysis
        >>> truth, answer = {"depth": torch.rand(2, 1, 8, 8)}, {"depth": torch.rand(2, 1, 8, 8)}
        >>> maps = {"truth": truth, "answer": answer}
        >>> figure = analysis.plot_maps(torch.rand(2, 3, 8, 8), maps, tasks={"depth": mtlue.Depth()})
        >>> len(figure.axes)  # three rows of two
        6
    """
    pictures = check_pictures("images", images)
    shown = {name: task for name, task in resolve_tasks(tasks).items() if isinstance(task, _KINDS)}
    if not shown:
        raise ValueError(f"tasks: expected one whose labels are maps, got {list(tasks)}")
    if not isinstance(maps, Mapping) or not maps:
        raise ValueError("maps: expected those of at least one source by its name")
    rows: list[tuple[str, Tensor]] = []
    for name, task in shown.items():
        read = {source: _read(source, by_task, name, task, pictures) for source, by_task in maps.items()}
        farthest = float(next(iter(read.values())).max())
        rows += [(f"{name}\n{source}", _colours(task, values, farthest=farthest)) for source, values in read.items()]
    figure, grid = picture_grid(["image", *(label for label, _ in rows)], len(pictures), shape=pictures.shape)
    for row, drawn in zip(grid, (pictures, *(colours for _, colours in rows)), strict=True):
        for axes, picture in zip(row, drawn, strict=True):
            show_picture(axes, picture)
    return finished(figure, path)


def _read(source: str, by_task: Mapping[str, Tensor], name: str, task: Task, images: Tensor) -> Tensor:
    """The map of one source, as a target: the likeliest class in place of logits.

    Raises:
        TypeError: it is no tensor.
        ValueError: it is missing, or does not fit the images.
    """
    if name not in by_task:
        raise ValueError(f"maps[{source!r}]: expected one for each task, {name!r} is missing")
    values = by_task[name]
    if not isinstance(values, Tensor):
        raise TypeError(f"maps[{source!r}][{name!r}]: expected a tensor, got {type(values).__name__}")
    values = values.detach().cpu()
    if isinstance(task, Segmentation) and values.is_floating_point():
        values = task.read_output(values).argmax(dim=1)
    values = task.read_target(values)
    if len(values) != len(images) or values.shape[-2:] != images.shape[-2:]:
        raise ValueError(
            f"maps[{source!r}][{name!r}]: shape {tuple(values.shape)} does not fit images of shape {tuple(images.shape)}"
        )
    return values


def _colours(task: Task, values: Tensor, *, farthest: float) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1]."""
    if isinstance(task, Segmentation):
        table = torch.tensor(require("matplotlib", extra="plot").colormaps["tab20"].colors)
        missing = (values == task.ignore_index).unsqueeze(1)
        pictures = table[values.clamp_min(0) % len(table)].permute(0, 3, 1, 2)
    elif isinstance(task, Depth):
        missing = values == 0
        table = torch.tensor(require("matplotlib", extra="plot").colormaps["viridis"].colors)
        share = (values[:, 0] / max(farthest, 1e-12)).clamp(0, 1)
        pictures = table[(share * (len(table) - 1)).round().long()].permute(0, 3, 1, 2)
    else:
        missing = (values == 0).all(dim=1, keepdim=True)
        pictures = (F.normalize(values, dim=1) + 1) / 2
    return torch.where(missing, 1.0, pictures.float())
