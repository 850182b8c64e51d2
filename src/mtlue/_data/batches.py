"""Batches of a user's data set, in an order that depends only on a seed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from mtlue._checks import naming
from mtlue._data.images import resize, to_unit_floats
from mtlue._data.reading import as_gathered, read_sample
from mtlue._runtime import Compute, Job, Share, current_job, out_of_memory, sent
from mtlue._tasks import CheckedTargets, Task, alike_tasks, label_columns, read_columns, read_single, split_by_task


@dataclass(frozen=True)
class Batch:
    """Images (B, C, H, W) and their targets. A slice is a batch of some of the samples.

    If several ranks compute together, images and targets are this rank's ``share`` of a batch. Length and slices are those of
    the whole batch.
    """

    images: Tensor
    targets: CheckedTargets
    share: Share | None = None

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.images) if self.share is None else len(self.share)

    def __getitem__(self, part: slice) -> Batch:
        """Return some of the samples."""
        if self.share is None:
            return Batch(self.images[part], self.targets.each(lambda target: target[part]))
        share = self.share.part(part)
        if not share.whole and len(share) < share.job.size:
            return self._gathered(share, self.share.rows(part))
        rows = self.share.rows(part)
        return Batch(self.images[rows], self.targets.each(lambda target: target[rows]), share)

    def _gathered(self, share: Share, rows: slice) -> Batch:
        """Return a part with fewer samples than there are ranks, on each rank all of it."""
        targets = self.targets.each(lambda target: share.gathered(target[rows]))
        return Batch(share.gathered(self.images[rows]), targets, replace(share, whole=True))

    def to(self, device: torch.device) -> Batch:
        """Return the same samples on a device, with images as floats in [0, 1]."""
        images = to_unit_floats(sent(self.images, device))
        return replace(self, images=images, targets=self.targets.to(device))

    def seen_as(self, images: Tensor, targets: CheckedTargets | None = None) -> Batch:
        """Return the same samples with other images, and perhaps other targets."""
        return replace(self, images=images, targets=self.targets if targets is None else targets)

    def pin_memory(self) -> Batch:
        """Return the same samples in memory from which a GPU copies without waiting. A `DataLoader` calls this."""
        return replace(self, images=self.images.pin_memory(), targets=self.targets.each(Tensor.pin_memory))

    def all_labelled(self, tasks: Mapping[str, Task]) -> bool:
        """Return whether each sample has a label of each task."""
        return not any(bool(task.missing(self.targets[name]).any()) for name, task in tasks.items())


class Samples(Dataset[tuple[Tensor, Any]]):
    """A user's data set with its images as tensors (C, H, W), uint8 or float, and its targets as it gives them.

    Args:
        dataset: The data set.
        tasks: Its tasks.
        size: Height and width to resize batches to. None if all images have one size.
    """

    def __init__(self, dataset: Dataset[Any], tasks: Mapping[str, Task], *, size: tuple[int, int] | None = None) -> None:
        self.dataset, self.tasks, self.size = dataset, tasks, size
        #: The tasks whose labels are of whole images, those together that are read together.
        self.groups = [group for group in alike_tasks(tasks) if not group.task.is_map]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(cast("Sized", self.dataset))

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        """Return image and targets of a sample."""
        return read_sample(self.dataset, index)

    def __getitems__(self, indices: Sequence[int]) -> Any:
        """Return what `collate` makes of some samples. A `DataLoader` calls this.

        Raises:
            TypeError: a label has a type that cannot be read.
            ValueError: a sample cannot be read, or does not fit the others.
            RuntimeError: they do not fit into memory.
        """
        return self.gathered(indices, [self[index] for index in indices])

    def gathered(self, indices: Sequence[int], samples: Sequence[tuple[Tensor, Any]]) -> Batch:
        """Return what `collate` makes of samples that have been read. Errors name them by their indices.

        Raises:
            TypeError: a label has a type that cannot be read.
            ValueError: a sample cannot be read, or does not fit the others.
            RuntimeError: they do not fit into memory.
        """
        try:
            return self.collate(samples)
        except (TypeError, ValueError, RuntimeError) as error:
            if out_of_memory(error):
                raise
            self._check_alike(indices, samples)
            raise ValueError(f"dataset: samples {indices[0]} to {indices[-1]} do not fit together: {error}") from error

    @property
    def extent(self) -> int:
        """The largest number of samples that a batch can have."""
        return len(self)

    @property
    def has_maps(self) -> bool:
        """Whether some labels are maps, which have to move with their image."""
        return any(task.is_map for task in self.tasks.values())

    # A worker cannot send labels that carry a gradient.
    @torch.no_grad()
    def collate(self, samples: Sequence[tuple[Tensor, Any]]) -> Batch:
        """Make a batch of samples, resized to one size, label maps included."""
        images = [self._resized(image) for image, _ in samples]
        if len({image.dtype for image in images}) > 1:
            images = [to_unit_floats(image) for image in images]
        return Batch(torch.stack(images), self.read_labels([targets for _, targets in samples]))

    def read(self, indices: Sequence[int], device: torch.device) -> Batch:
        """Read a batch of these samples onto a device at once. An index that is too large starts again at 0."""
        batch: Batch = self.__getitems__([index % len(self) for index in indices])
        return batch.to(device)

    def _resized(self, image: Tensor) -> Tensor:
        return image if self.size is None else resize(to_unit_floats(image).unsqueeze(0), self.size).squeeze(0)

    def read_labels(self, targets: Sequence[Any]) -> CheckedTargets:
        """Read the targets of some samples, which may differ in form, as checked tensors by task."""
        columns = label_columns(targets, self.tasks)
        read = read_columns(columns, self.groups)
        for name, task in self.tasks.items():
            if task.is_map:
                read[name] = self._stack_maps(task, columns[name])
        return read.ordered(self.tasks)

    def _stack_maps(self, task: Task, labels: Sequence[object]) -> Tensor:
        maps = [read_single(label, task) for label in labels]
        return torch.cat(maps if self.size is None else [task.resize_target(each, self.size) for each in maps])

    def _check_alike(self, indices: Sequence[int], samples: Sequence[tuple[Tensor, Any]]) -> None:
        """Refuse a sample whose labels cannot be read, or whose image differs in shape from the first.

        Raises:
            ValueError: there is such a sample.
        """
        first = tuple(samples[0][0].shape)
        for index, (image, targets) in zip(indices, samples, strict=True):
            with naming(f"dataset: sample {index}"):
                for name, label in split_by_task(targets, self.tasks, what="targets").items():
                    with naming(f"task {name!r}"):
                        read_single(label, self.tasks[name])
                self.check_shape(image, first, of=indices[0])

    def check_shape(self, image: Tensor, first: tuple[int, ...], *, of: int) -> None:
        """Refuse an image that does not fit another one, of the sample with the index ``of``.

        Raises:
            ValueError: it differs in channels, or in size where images are not resized.
        """
        if image.shape[0] != first[0] or (self.size is None and image.shape != first):
            cure = "convert them all to one mode" if image.shape[0] != first[0] else "resize them, or give image_size"
            raise ValueError(f"image of shape {tuple(image.shape)}, but sample {of} has {first}; {cure}")


def shuffled_batches(samples: Samples, *, batch_size: int, compute: Compute, seed: int, done: int = 0) -> Iterator[Batch]:
    """Yield every sample once, except the first ``done``, on the device, in an order that the seed alone decides."""
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed)).tolist()[done:]
    return ordered_batches(samples, order, batch_size=batch_size, compute=compute, seed=seed)


def ordered_batches(
    samples: Samples, order: Iterable[int], *, batch_size: int, compute: Compute, seed: int = 0
) -> Iterator[Batch]:
    """Yield the samples of ``order`` in that order, as floats in [0, 1] on the device. Workers draw from the seed.

    In a call that several ranks make together, each reads its share.
    """
    shares: deque[Share | None] = deque()

    def parts() -> Iterator[list[int]]:
        left, job = iter(order), current_job()
        while part := list(islice(left, batch_size)):
            shares.append(None if job is None else _share(job, len(part)))
            yield part if shares[-1] is None else part[shares[-1].own]

    loader: DataLoader[Any] = DataLoader(
        samples,
        batch_sampler=cast("Sampler[list[int]]", parts()),
        num_workers=compute.num_workers,
        collate_fn=as_gathered,
        pin_memory=compute.device.type == "cuda",
        # A generator of its own, because the loader would otherwise draw from the caller's.
        generator=torch.Generator().manual_seed(seed),
    )
    for batch in loader:
        yield replace(batch.to(compute.device), share=shares.popleft())


def _share(job: Job, count: int) -> Share:
    return Share(job, 0, count, whole=count < job.size)


def shared(batch: Batch) -> Batch:
    """Return this rank's share of a batch that each rank has read, in a call that several ranks make together."""
    job = current_job()
    if job is None:
        return batch
    share = _share(job, len(batch))
    return Batch(batch.images[share.own], batch.targets.each(lambda target: target[share.own]), share)
