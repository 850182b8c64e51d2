"""Data sets that a defence reads: with checked images, and clean sets that the victim's owner may hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtlue._checks import check_count, check_image_size
from mtlue._data import Batch, Samples, check_map_style, image_problem, ordered_batches, shuffled_batches
from mtlue._losses import Surrogate
from mtlue._runtime import Compute
from mtlue._tasks import Task, Tasks, resolve_tasks


class CheckedSamples(Samples):
    """Like `mtlue._data.Samples`, but refuses images that are out of range or cannot be stacked with others.

    Args:
        dataset: Map-style set of pairs (image, targets).
        tasks: Tasks of the targets.
        size: Height and width that images will be resized to. None if they must have one size already.
        argument: Name of the data set in messages.
    """

    def __init__(
        self, dataset: Dataset[Any], tasks: Mapping[str, Task], *, size: tuple[int, int] | None, argument: str
    ) -> None:
        super().__init__(dataset, tasks, size=size)
        self.argument = argument
        self._shape: tuple[int, ...] | None = None

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        """Return image and targets of a sample.

        Raises:
            ValueError: the image is outside [0, 1], or differs in channels or size from the first one.
        """
        image, targets = super().__getitem__(index)
        problem = image_problem(image)
        if problem is not None:
            raise ValueError(f"{self.argument}: sample {index}: {problem}")
        shape = tuple(image.shape) if self.size is None else (image.shape[0], *self.size)
        if self._shape is None:
            self._shape = shape
        if shape != self._shape:
            raise ValueError(
                f"{self.argument}: sample {index}: image of shape {shape}, but others have {self._shape}; expected images of "
                "one size, or an image_size to resize them to"
            )
        return image, targets


class CleanSet:
    """A clean data set, with the tasks of its labels.

    Args:
        dataset: Map-style set of pairs (image, targets), in any form that `mtlue.protect` takes.
        tasks: Its tasks, in the order of its targets. By default its own ``tasks`` if it has them, else the model's. The model
            may be trained on some of them only.
        batch_size: Images in a batch.
        image_size: Height and width to resize images and label maps to. None if all have one size.
        argument: Name of the data set in messages.

    Raises:
        TypeError: the data set has no length, or cannot be indexed, or an argument has the wrong type.
        ValueError: the data set is empty, or an argument is out of range.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        tasks: Tasks | None,
        batch_size: int,
        image_size: tuple[int, int] | None,
        argument: str,
    ) -> None:
        self.dataset = check_map_style(argument, dataset)
        own = getattr(dataset, "tasks", None)
        described = own if tasks is None and isinstance(own, Mapping) else tasks
        self.tasks = None if described is None else resolve_tasks(described)
        self.batch_size = check_count("batch_size", batch_size, minimum=1)
        self.image_size = check_image_size(image_size)
        self.argument = argument

    def __len__(self) -> int:
        return len(cast("Sized", self.dataset))

    def ordered(self, victim: Surrogate, device: torch.device) -> Iterator[Batch]:
        """Yield batches of images in [0, 1], (B, C, H, W), and targets, in the data set's order.

        Raises:
            ValueError: the data set lacks a task of the model, or an image cannot be used.
        """
        samples = self._samples(victim)
        return ordered_batches(samples, range(len(self)), batch_size=self.batch_size, compute=Compute(device))

    def shuffled(self, victim: Surrogate, device: torch.device, *, seed: int) -> Iterator[Batch]:
        """Yield batches of images in [0, 1], (B, C, H, W), and targets. The seed decides the order.

        Raises:
            ValueError: the data set lacks a task of the model, or an image cannot be used.
        """
        return shuffled_batches(self._samples(victim), batch_size=self.batch_size, compute=Compute(device), seed=seed)

    def _samples(self, victim: Surrogate) -> CheckedSamples:
        tasks = victim.tasks if self.tasks is None else self.tasks
        absent = [name for name in victim.tasks if name not in tasks]
        if absent:
            raise ValueError(f"{self.argument}: no labels for the tasks {absent}; found {list(tasks)}")
        return CheckedSamples(self.dataset, tasks, size=self.image_size, argument=self.argument)
