"""Batches of a user's data set, in an order that depends on a seed alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Sized
from typing import Any, TypeAlias, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mtlue._data.images import read_image, to_unit_floats
from mtlue._generator import resize
from mtlue._tasks import CheckedTargets, Task, read_targets

Batch: TypeAlias = tuple[Tensor, CheckedTargets]


class Samples(Dataset[tuple[Tensor, CheckedTargets]]):
    """A user's data set as tensors: images (C, H, W), uint8 or float, and targets by task."""

    def __init__(self, dataset: Dataset[Any], tasks: Mapping[str, Task]) -> None:
        self.dataset, self.tasks = dataset, tasks

    def __len__(self) -> int:
        """Number of samples."""
        return len(cast("Sized", self.dataset))

    def __getitem__(self, index: int) -> tuple[Tensor, CheckedTargets]:
        """Image and targets of one sample."""
        image, targets = self.dataset[index]
        return read_image(image), read_targets(targets, self.tasks)


class Collate:
    """Stacks samples; with a ``size``, images of another size are resized to it, and label maps with them."""

    def __init__(self, tasks: Mapping[str, Task], size: tuple[int, int] | None) -> None:
        self.tasks, self.size = tasks, size

    def __call__(self, samples: Sequence[tuple[Tensor, CheckedTargets]]) -> Batch:
        """Images (B, C, H, W) and targets of a batch."""
        resized = [self._resize(image, targets) for image, targets in samples]
        images = torch.stack([image for image, _ in resized])
        stacked = {name: torch.stack([targets[name] for _, targets in resized]) for name in self.tasks}
        return images, read_targets(stacked, self.tasks)

    def _resize(self, image: Tensor, targets: CheckedTargets) -> tuple[Tensor, CheckedTargets]:
        if self.size is None:
            return image, targets
        maps = {
            name: self.tasks[name].resize_target(target.unsqueeze(0), self.size).squeeze(0)
            for name, target in targets.items()
        }
        return resize(to_unit_floats(image).unsqueeze(0), self.size).squeeze(0), CheckedTargets(maps)


def shuffled_batches(
    samples: Samples, *, batch_size: int, seed: int, size: tuple[int, int] | None, device: torch.device, num_workers: int
) -> Iterator[Batch]:
    """Every sample once, in an order that the seed alone decides, on the device."""
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed)).tolist()
    yield from ordered_batches(
        samples, order, batch_size=batch_size, size=size, device=device, num_workers=num_workers
    )


def ordered_batches(
    samples: Samples,
    order: Sequence[int],
    *,
    batch_size: int,
    size: tuple[int, int] | None,
    device: torch.device,
    num_workers: int,
) -> Iterator[Batch]:
    """The samples of ``order`` in that order, floats in [0, 1] on the device."""
    loader: DataLoader[Any] = DataLoader(
        samples,
        batch_size=batch_size,
        sampler=cast("Sampler[int]", order),
        num_workers=num_workers,
        collate_fn=Collate(samples.tasks, size),
        pin_memory=device.type == "cuda",
        # A generator of its own: the loader would otherwise draw from the caller's.
        generator=torch.Generator(),
    )
    for images, targets in loader:
        yield to_unit_floats(images.to(device, non_blocking=True)), CheckedTargets(targets).to(device)
