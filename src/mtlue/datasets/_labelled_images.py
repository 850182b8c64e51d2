"""What sets share whose labels are classes of the whole image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtlue._tasks import Task
from mtlue.datasets._images import load_image, resize_image


class LabelledImages(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Image files with one class for each task. A file is read when its sample is requested.

    Args:
        paths: The image files.
        labels: Integers of shape (N, K), in the order of the tasks.
        tasks: The K tasks.
        split: Name of the split.
        image_size: Height and width. None leaves the images unchanged.
    """

    _mode: ClassVar[str] = "RGB"
    _source: ClassVar[str]

    def __init__(
        self,
        paths: Sequence[str],
        labels: Tensor,
        *,
        tasks: Mapping[str, Task],
        split: str,
        image_size: tuple[int, int] | None,
    ) -> None:
        self.tasks: dict[str, Task] = dict(tasks)
        self.split = split
        self.image_size = image_size
        self._paths = list(paths)
        # One byte for each label: forty of them for 160,000 images are 7 MB, which every worker process gets.
        self._labels = labels.to(torch.int8)

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def files(self) -> list[str]:
        """The image of each sample."""
        return list(self._paths)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the image (C, H, W) in [0, 1], and an int64 tensor of shape () for each task.

        Raises:
            FileNotFoundError: the image's file no longer exists.
            ValueError: the image cannot be read.
        """
        image = load_image(self._paths[index], mode=self._mode, source=self._source)
        if self.image_size is not None:
            image = resize_image(self._crop(image), self.image_size)
        labels = self._labels[index].long()
        return image, dict(zip(self.tasks, labels.unbind(), strict=True))

    def _crop(self, image: Tensor) -> Tensor:
        """Return the part of an image to resize."""
        return image

    def _details(self) -> str:
        """Return what else `__repr__` shows."""
        return ""

    def __repr__(self) -> str:
        """Return size, split and tasks."""
        return (
            f"{type(self).__name__}({len(self)} samples, split={self.split!r}, image_size={self.image_size}, "
            f"{self._details()}{len(self.tasks)} tasks)"
        )
