"""Random zoom and horizontal flip of images together with their label maps."""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatch

import torch
from torch import Tensor

from mtlue._data import JointTransform, check_images, resize
from mtlue._tasks import (
    Classification,
    Depth,
    Segmentation,
    SurfaceNormals,
    Task,
    Tasks,
    is_registered,
    read_targets,
    resolve_tasks,
)

_ZOOMS = (1.0, 1.2, 1.5)


class RandomZoomFlip(JointTransform):
    """Zooms and flips batches as Liu et al. (2019) do on NYUv2. Label maps move with the pixels.

    Each sample is zoomed by 1, 1.2 or 1.5. A window of 1/zoom of the height and the width, at a random place, is enlarged to
    the whole image: bilinearly for images, by nearest neighbour for label maps. Whatever looks larger by a factor is closer by
    it, so depth is divided by the zoom. Then a random half of the samples is mirrored, which reverses the x of their surface
    normals. Classes of a whole image do not change, nor do missing readings (0). For your own kind of task, register a function
    with `zoom_flip_values`.

    It uses torch's global random numbers.

    Args:
        tasks: Tasks by name, such as a reader's ``tasks``.

    Raises:
        TypeError: ``tasks`` is not a mapping of tasks.
        ValueError: ``tasks`` is empty, or has a kind of task for which no `zoom_flip_values` is registered.

    Example:
        >>> import torch, mtlue
        >>> from mtlue import datasets
        >>> augment = datasets.RandomZoomFlip({"depth": mtlue.Depth()})
        >>> images, targets = augment(torch.rand(4, 3, 12, 16), {"depth": torch.full((4, 1, 12, 16), 3.0)})
        >>> {round(value, 2) for value in targets["depth"].flatten().tolist()} <= {3.0, 2.5, 2.0}
        True
    """

    def __init__(self, tasks: Tasks) -> None:
        self.tasks: dict[str, Task] = resolve_tasks(tasks)
        for name, task in self.tasks.items():
            if not is_registered(zoom_flip_values, task):
                raise ValueError(f"tasks[{name!r}]: {_unregistered(task)}")

    def __call__(self, images: Tensor, targets: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return augmented copies of images (B, C, H, W) and of their targets for some or all tasks.

        Raises:
            TypeError: the images are not floats.
            ValueError: the images have another shape, or a target fits neither its task nor the images.
        """
        check_images("images", images, values=False)
        foreign = [name for name in targets if name not in self.tasks]
        if foreign or not targets:
            raise ValueError(f"targets: expected targets of some of {list(self.tasks)}, got {list(targets)}")
        # A victim that learns some of the tasks has only their labels.
        labels = read_targets(targets, {name: self.tasks[name] for name in targets})
        for name, target in labels.items():
            if not _fits(self.tasks[name], target, images):
                raise ValueError(f"targets[{name!r}]: shape {tuple(target.shape)} does not fit images {tuple(images.shape)}")
        if not len(images):
            return images.clone(), dict(labels)
        samples = [
            self._move(images[i : i + 1], {name: target[i : i + 1] for name, target in labels.items()})
            for i in range(len(images))
        ]
        return (
            torch.cat([image for image, _ in samples]),
            {name: torch.cat([moved[name] for _, moved in samples]) for name in labels},
        )

    def _move(self, image: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        size = (image.shape[-2], image.shape[-1])
        zoom = _ZOOMS[int(torch.randint(len(_ZOOMS), ()))]
        height, width = (max(int(side / zoom), 1) for side in size)
        top, left = (int(torch.randint(side - part + 1, ())) for side, part in zip(size, (height, width), strict=True))
        mirrored = bool(torch.rand(()) < 0.5)

        def window(values: Tensor) -> Tensor:
            return values[..., top : top + height, left : left + width]

        image = resize(window(image), size)
        moved = {}
        for name, target in targets.items():
            task, values = self.tasks[name], target
            if task.is_map:
                values = task.resize_target(window(target), size)
                values = values.flip(-1) if mirrored else values
            moved[name] = zoom_flip_values(task, values, zoom, mirrored)
        return (image.flip(-1) if mirrored else image), moved

    def __repr__(self) -> str:
        return f"RandomZoomFlip({self.tasks})"


def _fits(task: Task, target: Tensor, images: Tensor) -> bool:
    if task.is_map:
        return task.label_map(target).shape == (len(images), task.label_channels, *images.shape[-2:])
    return target.shape[:1] == images.shape[:1]


@singledispatch
def zoom_flip_values(task: Task, values: Tensor, zoom: float, mirrored: bool) -> Tensor:
    """Change the values of labels for a zoom and a flip, after `RandomZoomFlip` has moved the pixels of label maps.

    Register a function for your own kind of task with ``zoom_flip_values.register``, for label maps and for labels of whole
    images. It returns targets of the same shape, and the same targets if distance, left and right do not matter to them.

    Args:
        task: The task.
        values: Targets of a batch, as `mtlue.Task.read_target` returns them.
        zoom: How much larger everything looks, at least 1.
        mirrored: Whether left and right have changed places.

    Raises:
        ValueError: the task's kind has no registered function.

    Example:
        >>> import torch, mtlue
        >>> from mtlue import datasets
        >>> class Disparity(mtlue.Depth):
        ...     "The inverse of the depth: what is nearer has more of it."
        >>> @datasets.zoom_flip_values.register
        ... def _(task: Disparity, values: torch.Tensor, zoom: float, mirrored: bool) -> torch.Tensor:
        ...     return values * zoom
        >>> datasets.zoom_flip_values(Disparity(), torch.tensor([[[[2.0, 4.0]]]]), 1.5, False)
        tensor([[[[3., 6.]]]])
        >>> augment = datasets.RandomZoomFlip({"disparity": Disparity()})
    """
    raise ValueError(f"task: {_unregistered(task)}")


def _unregistered(task: Task) -> str:
    known = ", ".join(kind.__name__ for kind in zoom_flip_values.registry if kind is not object)
    return (
        f"expected one of {known}, got {task!r}, whose labels may move otherwise; "
        "register a function for its kind with datasets.zoom_flip_values.register"
    )


@zoom_flip_values.register(Segmentation)
@zoom_flip_values.register(Classification)
def _(task: Task, values: Tensor, zoom: float, mirrored: bool) -> Tensor:
    return values


@zoom_flip_values.register
def _(task: Depth, values: Tensor, zoom: float, mirrored: bool) -> Tensor:
    return values / zoom


@zoom_flip_values.register
def _(task: SurfaceNormals, values: Tensor, zoom: float, mirrored: bool) -> Tensor:
    return torch.cat([-values[:, :1], values[:, 1:]], dim=1) if mirrored else values
