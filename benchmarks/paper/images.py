"""The sets of the tables, held in memory as bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

import mtlue


class InMemory(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """Images (N, C, H, W) of 8 bits, and the labels of each task.

    Args:
        images: uint8.
        labels: By task, as its batches are: (N,), or maps (N, ...).
        tasks: The tasks; a number is one of classes of the image.
    """

    def __init__(self, images: Tensor, labels: Mapping[str, Tensor], tasks: Mapping[str, int | mtlue.Task]) -> None:
        self.images, self.tasks = images, dict(tasks)
        self.labels = {name: labels[name] for name in self.tasks}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        return self.images[index], {name: values[index] for name, values in self.labels.items()}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of an image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def only(self, names: Sequence[str]) -> InMemory:
        """The same images with some of the tasks; with all if there is no name."""
        if not names:
            return self
        return InMemory(self.images, self.labels, {name: self.tasks[name] for name in names})

    def rows(self, kept: Tensor) -> InMemory:
        """Some of the samples."""
        return InMemory(self.images[kept], {name: values[kept] for name, values in self.labels.items()}, self.tasks)

    def with_images(self, dataset: Dataset[Any]) -> InMemory:
        """The same labels with the images of another set, floats in [0, 1]."""
        images = [(dataset[index][0] * 255).round().byte() for index in range(len(cast("Sized", dataset)))]
        return InMemory(torch.stack(images), self.labels, self.tasks)


@dataclass(frozen=True)
class Splits:
    """The parts of a set: no image is in two of them."""

    train: InMemory
    test: InMemory
    pretrain: InMemory | None


def with_contrast(images: Tensor, contrast: float) -> Tensor:
    """Images brought nearer to mid-grey."""
    if contrast == 1.0:
        return images
    return ((images.float() - 127.5) * contrast + 127.5).round().byte()


def gather(dataset: Dataset[Any], tasks: Mapping[str, int | mtlue.Task], *, count: int, contrast: float = 1.0) -> InMemory:
    """The first samples of any set whose images have one size, as bytes; all of them if ``count`` is 0."""
    length = len(cast("Sized", dataset))
    images: list[Tensor] = []
    labels: dict[str, list[Tensor]] = {name: [] for name in tasks}
    for index in range(min(count, length) if count else length):
        image, targets = dataset[index]
        images.append(image if image.dtype == torch.uint8 else (image * 255).round().byte())
        for position, name in enumerate(tasks):
            labels[name].append(torch.as_tensor(targets[name] if isinstance(targets, dict) else targets[position]))
    return InMemory(
        with_contrast(torch.stack(images), contrast), {name: torch.stack(values) for name, values in labels.items()}, tasks
    )
