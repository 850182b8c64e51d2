"""Random zoom and horizontal flip of images together with their label maps."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mtlue._data import JointTransform, resize
from mtlue._tasks import Classification, Depth, Segmentation, SurfaceNormals, Task, Tasks, read_targets, resolve_tasks

_ZOOMS = (1.0, 1.2, 1.5)
_KINDS = (Classification, Segmentation, Depth, SurfaceNormals)


class RandomZoomFlip(JointTransform):
    """The geometric augmentation of NYUv2 (Liu et al., 2019), for batches; label maps move with the pixels.

    Each sample is zoomed by 1, 1.2 or 1.5: a window of 1/zoom of the height and the width, at a random place, is enlarged to
    the whole image, bilinearly, and the label maps by nearest neighbour. What looks larger by a factor is nearer by it, so the
    depth is divided by the zoom. Then every other sample, at random, is mirrored, which turns the x of its surface normals
    round. Classes of a whole image stay; so do readings that are not there (0).

    The random numbers are torch's global ones.

    Args:
        tasks: Tasks by name, such as a reader's ``tasks``.

    Raises:
        TypeError: ``tasks`` is no mapping of tasks.
        ValueError: there is no task, or one is of a kind that mtlue does not know how to move.

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
            if not isinstance(task, _KINDS):
                known = ", ".join(kind.__name__ for kind in _KINDS)
                raise ValueError(f"tasks[{name!r}]: expected one of {known}, got {task!r}, whose labels may move otherwise")

    def __call__(self, images: Tensor, targets: Mapping[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Augmented copies of images (B, C, H, W) and of their targets, of all tasks or of some; what is given stays as it is.

        Raises:
            TypeError: the images are no floats.
            ValueError: the images have another shape, or a target does not fit its task or the images.
        """
        if not isinstance(images, Tensor) or not images.is_floating_point():
            kind = images.dtype if isinstance(images, Tensor) else type(images).__name__
            raise TypeError(f"images: expected a tensor of floats, got {kind}")
        if images.ndim != 4:
            raise ValueError(f"images: expected shape (B, C, H, W), got {tuple(images.shape)}")
        foreign = [name for name in targets if name not in self.tasks]
        if foreign or not targets:
            raise ValueError(f"targets: expected those of {list(self.tasks)} or of some of them, got {list(targets)}")
        # A victim that learns some of the tasks has the labels of those alone.
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
            task = self.tasks[name]
            if not task.is_map:
                moved[name] = target
                continue
            values = task.resize_target(window(target), size)
            values = values / zoom if isinstance(task, Depth) else values
            moved[name] = self._mirror(values, task) if mirrored else values
        return (image.flip(-1) if mirrored else image), moved

    @staticmethod
    def _mirror(values: Tensor, task: Task) -> Tensor:
        values = values.flip(-1)
        if isinstance(task, SurfaceNormals):
            values = torch.cat([-values[:, :1], values[:, 1:]], dim=1)
        return values

    def __repr__(self) -> str:
        """The call that makes an equal one."""
        return f"RandomZoomFlip({self.tasks})"


def _fits(task: Task, target: Tensor, images: Tensor) -> bool:
    if not task.is_map:
        return target.shape == images.shape[:1]
    axes = 3 if isinstance(task, Segmentation) else 4
    return target.ndim == axes and len(target) == len(images) and target.shape[-2:] == images.shape[-2:]
