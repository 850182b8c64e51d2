"""Read every sample before anything is trained, and report all problems of a data set together."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from mtlue._data.images import read_image
from mtlue._data.problems import Problem, Problems, told_at_once
from mtlue._data.reading import each_sample, item_problem
from mtlue._runtime import warn
from mtlue._tasks import Task, read_single, split_by_task

_REREAD = 16


@dataclass(frozen=True)
class Inspection:
    """What an inspection found in a data set without faults.

    Attributes:
        length: Number of samples.
        channels: Channels of the images.
        sizes: Number of images of each (height, width).
        lone: Tasks whose labels are all of one class.
    """

    length: int
    channels: int
    sizes: Counter[tuple[int, int]]
    lone: tuple[str, ...] = ()

    @property
    def uniform(self) -> bool:
        """Whether all images have one size."""
        return len(self.sizes) == 1

    @property
    def typical_size(self) -> tuple[int, int]:
        """The median height and the median width."""
        middle = self.length // 2
        heights = sorted(height for height, _ in self.sizes.elements())
        widths = sorted(width for _, width in self.sizes.elements())
        return heights[middle], widths[middle]

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, and the typical height and width."""
        return (self.channels, *self.typical_size)

    def size_for(self, image_shape: tuple[int, int, int]) -> tuple[int, int] | None:
        """Return the size to resize batches to for a model of this shape. None if all images have one size anyway."""
        return None if self.uniform else image_shape[1:]


@dataclass(frozen=True)
class _Sample:
    problems: tuple[Problem, ...]
    shape: tuple[int, ...]
    classes: tuple[int | None, ...]


class _Samples(Dataset[_Sample]):
    """Reads a sample and keeps what is to be known of it, so that a worker sends little back."""

    def __init__(self, dataset: Dataset[Any], tasks: Mapping[str, Task], reread: frozenset[int]) -> None:
        self.dataset, self.tasks, self.reread = dataset, tasks, reread

    def __len__(self) -> int:
        return len(cast("Sized", self.dataset))

    def __getitem__(self, index: int) -> _Sample:
        try:
            item = self.dataset[index]
        except Exception as error:
            return _Sample((Problem(f"cannot be read: {type(error).__name__}: {error}"),), (), ())
        problem = item_problem(item)
        if problem is not None:
            return _Sample((Problem(problem),), (), ())
        problems: list[Problem] = []
        image: Tensor | None = None
        try:
            image = read_image(item[0])
            problems += Problem.of_image(image)
        except (TypeError, ValueError) as error:
            problems.append(Problem(f"image: {error}"))
        reads = [item[1]]
        if image is not None and not problems and index in self.reread:
            reads += self._read_again(index, image, problems)
        classes = self._read_labels(reads, image, problems)
        return _Sample(tuple(problems), () if image is None else tuple(image.shape), classes)

    def _read_again(self, index: int, image: Tensor, problems: list[Problem]) -> list[object]:
        """Read a sample a second time, and note whether its image differs. Returns the targets of that read, if any."""
        try:
            item = self.dataset[index]
            again, targets = read_image(item[0]), item[1]
        except Exception as error:
            problems.append(Problem(f"cannot be read a second time: {type(error).__name__}: {error}"))
            return []
        if again.shape != image.shape or not torch.equal(again, image):
            problems.append(
                Problem(
                    "the image differs between two reads, as random augmentation does; take it out of the data set, and "
                    "give it to the protected set with with_transform"
                )
            )
        return [targets]

    def _read_labels(self, reads: list[object], image: Tensor | None, problems: list[Problem]) -> tuple[int | None, ...]:
        """Return the classes of a sample, from one or two reads of its targets."""
        classes: list[int | None] = []
        try:
            labels, *again = (split_by_task(targets, self.tasks, what="targets") for targets in reads)
        except (TypeError, ValueError) as error:
            problems.append(Problem(str(error)))
            return ()
        for name, label in labels.items():
            task = self.tasks[name]
            try:
                target = read_single(label, task)
                changed = not all(_same(target, read_single(other[name], task)) for other in again)
            except (TypeError, ValueError) as error:
                problems.append(Problem.of_label(error, label, name))
                classes.append(None)
                continue
            if changed:
                problems.append(
                    Problem(
                        f"task {name!r}: the label differs between two reads, as random relabelling or shuffling does; decide "
                        "on labels and order before you give the data set, so that every read of a sample gives the same"
                    )
                )
            if not task.is_map:
                classes.append(int(task.embedding_index(target)[0]))
                continue
            classes.append(-1 if bool(task.missing(target)[0]) else None)
            if image is not None and target.shape[-2:] != image.shape[-2:]:
                sizes = f"{tuple(target.shape[-2:])} pixels, the image has {tuple(image.shape[-2:])}"
                problems.append(Problem(f"task {name!r}: label map of {sizes}"))
        return tuple(classes)


def _same(target: Tensor, other: Tensor) -> bool:
    # NaN is allowed: it can stand for an unknown depth.
    return target.shape == other.shape and bool(((target == other) | (target.isnan() & other.isnan())).all())


def check_map_style(name: str, dataset: object) -> Dataset[Any]:
    """Return the data set if it has a length and can be indexed.

    Raises:
        TypeError: it has no length, or cannot be indexed.
        ValueError: it is empty.
    """
    if isinstance(dataset, str | bytes | os.PathLike):
        raise TypeError(
            f"{name}: expected a data set, got a path; "
            f"mtlue.datasets.ImageTable({os.fspath(dataset)!r}) reads a folder with a table of labels"
        )
    if isinstance(dataset, IterableDataset) or not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
        cure = ""
        if isinstance(dataset, DataLoader):
            cure = "; give its .dataset"
        elif isinstance(dataset, Iterable):
            cure = "; read it into a list"
        raise TypeError(
            f"{name}: expected a map-style data set with __len__ and __getitem__, "
            f"got {type(dataset).__name__}, which lacks a length or an index{cure}"
        )
    if len(cast("Sized", dataset)) == 0:
        raise ValueError(f"{name}: expected at least one sample, got an empty data set")
    return cast("Dataset[Any]", dataset)


def inspect_dataset(
    dataset: Dataset[Any], tasks: Mapping[str, Task], *, num_workers: int = 0, reread: bool = True
) -> Inspection:
    """Read every sample once, and some twice. Raise one error that lists all problems.

    Args:
        dataset: The data set.
        tasks: Its tasks.
        num_workers: Processes that read the data set.
        reread: Whether to refuse images and labels that change between two reads. A set to train on may augment.

    Raises:
        TypeError: the data set has no length, or cannot be indexed.
        ValueError: it is empty, or has samples that cannot be used.
    """
    check_map_style("dataset", dataset)
    length = len(cast("Sized", dataset))
    step = max(1, length // _REREAD)
    samples = _Samples(dataset, tasks, frozenset(range(0, length, step) if reread else ()))
    problems = Problems()
    shapes: dict[int, int] = {}
    sizes: Counter[tuple[int, int]] = Counter()
    seen: list[set[int | None]] = [set() for _ in tasks]
    for index, sample in enumerate(each_sample(samples, num_workers=num_workers)):
        for problem in sample.problems:
            problems.add(index, problem)
        if len(sample.shape) == 3:
            shapes.setdefault(sample.shape[0], index)
            sizes[sample.shape[1], sample.shape[2]] += 1
        for values, value in zip(seen, sample.classes, strict=False):
            values.add(value)
    lines = problems.lines()
    if len(shapes) > 1:
        found = ", ".join(f"{channels} (first at sample {where})" for channels, where in shapes.items())
        lines.append(f"images have different numbers of channels: {found}; convert them all to one mode")
    if not problems:
        lines += [f"task {name!r}: every label is missing" for name, values in zip(tasks, seen, strict=True) if values == {-1}]
    if lines:
        raise ValueError(told_at_once(lines))
    lone: list[str] = []
    for (name, task), values in zip(tasks.items(), seen, strict=True):
        if not task.is_map and len(values - {-1}) == 1:
            lone.append(name)
        if task.num_embeddings == 2 and values == {-1, 1}:
            lone.remove(name)
            warn(
                f"task {name!r}: the labels are only -1 and 1, and -1 means a missing label; "
                "if -1 is your negative class, give 0 instead"
            )
    return Inspection(length, next(iter(shapes)), sizes, tuple(lone))
