"""Pictures of label maps, and of models' answers for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import singledispatch

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue._runtime import require, warn
from mtlue._tasks import Depth, Segmentation, SurfaceNormals, Task, Tasks, is_registered, resolve_tasks
from mtlue.analysis._figures import Figure, PathArgument, check_pictures, finished, picture_grid


def plot_maps(images: Tensor, maps: Mapping[str, Mapping[str, Tensor]], path: PathArgument = None, *, tasks: Tasks) -> Figure:
    """Plot images, and below them the label maps of each task from each source.

    A class has the same colour in all pictures, and so has a distance. Normals show x, y and z as red, green and blue. White
    means unlabelled.

    Args:
        images: Shape (B, C, H, W) with 1 or 3 channels, floats in [0, 1] or uint8.
        maps: Targets, or a model's answers as `mtlue.Surrogate` returns them: by source (such as ``"truth"`` or the name of a
            model), then by task. The first source sets the scale of distances.
        path: File to write; its ending decides the format. None writes nothing.
        tasks: The tasks. Tasks with labels of whole images are left out. Maps of a kind without a registered `draw_map` are
            left out with a warning.

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
    shown = {name: task for name, task in resolve_tasks(tasks).items() if task.is_map}
    for name in [name for name, task in shown.items() if not is_registered(draw_map, task)]:
        warn(f"tasks: {name!r} is left out: {_unregistered(shown.pop(name))}")
    if not shown:
        raise ValueError(f"tasks: expected a task whose labels are maps that can be drawn, got {list(tasks)}")
    if not isinstance(maps, Mapping) or not maps:
        raise ValueError("maps: expected a dict with the maps of at least one source")
    rows: list[tuple[str, Sequence[Tensor]]] = [("image", list(pictures))]
    for name, task in shown.items():
        read = {source: _read(source, by_task, name, pictures) for source, by_task in maps.items()}
        first = next(iter(read.values()))
        rows += [(f"{name}\n{source}", list(draw_map(task, values, first))) for source, values in read.items()]
    return finished(picture_grid(rows)[0], path)


def _read(source: str, by_task: Mapping[str, Tensor], name: str, images: Tensor) -> Tensor:
    if name not in by_task:
        raise ValueError(f"maps[{source!r}]: expected one for each task, {name!r} is missing")
    values = by_task[name]
    if not isinstance(values, Tensor):
        raise TypeError(f"maps[{source!r}][{name!r}]: expected a tensor, got {type(values).__name__}")
    if values.shape[:1] != images.shape[:1] or values.shape[-2:] != images.shape[-2:]:
        raise ValueError(
            f"maps[{source!r}][{name!r}]: shape {tuple(values.shape)} does not fit images of shape {tuple(images.shape)}"
        )
    return values.detach().cpu()


@singledispatch
def draw_map(task: Task, values: Tensor, first: Tensor) -> Tensor:
    """Draw label maps, or a model's answers for them, as `plot_maps` shows them below the images.

    Register a function for your own kind of task with ``draw_map.register``. It returns colours of shape (B, 3, H, W) in [0,
    1], white for unlabelled pixels.

    Args:
        task: The task.
        values: Targets or answers of a batch, on the CPU.
        first: Targets or answers of the first source, from which all sources take their scale.

    Raises:
        TypeError: the task's kind has no registered function.

    Example:
        >>> import torch, mtlue
        >>> from mtlue import analysis
        >>> class Heat(mtlue.Depth):
        ...     "Temperatures; 0 means that there is no reading."
        >>> @analysis.draw_map.register
        ... def _(task: Heat, values: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        ...     share = (values / first.max()).clamp(0, 1)
        ...     return torch.where(values == 0, 1.0, torch.cat([share, 0 * share, 1 - share], dim=1))
        >>> hot = torch.tensor([[[[40.0, 0.0]]]])
        >>> analysis.draw_map(Heat(), hot, hot)[0, :, 0].T
        tensor([[1., 0., 0.],
                [1., 1., 1.]])
    """
    raise TypeError(f"task: {_unregistered(task)}")


def _unregistered(task: Task) -> str:
    return f"no picture is registered for {type(task).__name__}; register a function with analysis.draw_map.register"


@draw_map.register
def _(task: Segmentation, values: Tensor, first: Tensor) -> Tensor:
    classes = task.read_target(task.read_output(values).argmax(dim=1) if values.is_floating_point() else values)
    table = torch.tensor(require("matplotlib", extra="plot").colormaps["tab20"].colors)
    colours = table[classes.clamp_min(0) % len(table)].permute(0, 3, 1, 2).float()
    return torch.where((classes == task.ignore_index).unsqueeze(1), 1.0, colours)


@draw_map.register
def _(task: Depth, values: Tensor, first: Tensor) -> Tensor:
    distances, farthest = task.read_target(values), float(task.read_target(first).max())
    table = torch.tensor(require("matplotlib", extra="plot").colormaps["viridis"].colors)
    share = (distances[:, 0] / max(farthest, 1e-12)).clamp(0, 1)
    colours = table[(share * (len(table) - 1)).round().long()].permute(0, 3, 1, 2).float()
    return torch.where(distances == 0, 1.0, colours)


@draw_map.register
def _(task: SurfaceNormals, values: Tensor, first: Tensor) -> Tensor:
    directions = task.read_target(values)
    return torch.where(task.observed(directions), (F.normalize(directions, dim=1) + 1) / 2, 1.0)
