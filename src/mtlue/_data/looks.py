"""A look at each batch of a data set as a loader delivers it: what is wrong with it, and what is to be known of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from torch import Tensor
from torch.utils.data import Dataset

from mtlue._data.problems import Problem
from mtlue._data.sample_look import look_at_image, look_at_label, look_at_labels, read_again, read_pair
from mtlue._tasks import Task, alike_tasks, label_columns, read_columns

_REREAD = 16


@dataclass
class SampleLook:
    """What is known of a sample before its labels are read.

    Attributes:
        index: Its number.
        problems: What is wrong with it.
        shape: Shape of its image; empty where that cannot be read.
        reads: Its targets, read once or twice; none where it is not a pair.
    """

    index: int
    problems: list[Problem]
    shape: tuple[int, ...] = ()
    reads: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Look:
    """What is known of a batch. A worker sends it back, so it is small.

    Attributes:
        length: Number of samples.
        problems: What is wrong with which sample.
        shapes: Shape of each image that can be read, with the number of the sample.
        labels: What the reader of the labels made of them.
    """

    length: int
    problems: list[tuple[int, Problem]]
    shapes: list[tuple[int, tuple[int, ...]]]
    labels: Any


class Labels(Protocol):
    """Reads the labels of a batch."""

    def look(self, samples: Sequence[SampleLook]) -> Any:
        """What is to be known of the labels; what is wrong with them goes to the problems of the samples."""


class Looks(Dataset[Look]):
    """A data set of which each batch is looked at.

    Args:
        dataset: The data set.
        labels: Reads the labels.
        reread: Numbers of the samples that are read twice, to see whether they change.
    """

    def __init__(self, dataset: Dataset[Any], labels: Labels, reread: frozenset[int]) -> None:
        self.dataset, self.labels, self.reread = dataset, labels, reread

    def __len__(self) -> int:
        """Number of samples."""
        return len(cast("Sized", self.dataset))

    def __getitems__(self, indices: Sequence[int]) -> Look:
        """Look at some samples, as a `DataLoader` asks for it."""
        samples = [self._look_at(index) for index in indices]
        labels = self.labels.look(samples)
        problems = [(sample.index, problem) for sample in samples for problem in sample.problems]
        return Look(len(samples), problems, [(sample.index, sample.shape) for sample in samples if sample.shape], labels)

    def _look_at(self, index: int) -> SampleLook:
        item, problems = read_pair(self.dataset, index)
        if problems:
            return SampleLook(index, problems)
        image, problems = look_at_image(item[0])
        reads = [item[1]]
        if image is not None and not problems and index in self.reread:
            again, problems = read_again(self.dataset, index, image)
            reads += again
        # Not the image itself: those of a batch need not be in memory together.
        return SampleLook(index, problems, () if image is None else tuple(image.shape), reads)


def read_twice(dataset: Dataset[Any]) -> frozenset[int]:
    """Numbers of the samples of a data set that are read twice, spread over it."""
    length = len(cast("Sized", dataset))
    return frozenset(range(0, length, max(1, length // _REREAD)))


class TaskLabels:
    """The labels of known tasks, all of a batch at once; one by one where something is wrong with one of them.

    Args:
        tasks: The tasks.
    """

    def __init__(self, tasks: Mapping[str, Task]) -> None:
        self.tasks = tasks
        self._groups = [group for group in alike_tasks(tasks) if not group.task.is_map]

    def look(self, samples: Sequence[SampleLook]) -> list[list[int]]:
        """The classes of each task that occur, -1 for a missing label, 0 for a map."""
        try:
            by_task = self._together(samples)
        except Exception:  # Whatever it is, it is told of the sample that has it.
            by_task = None
        again = samples if by_task is None else [sample for sample in samples if len(sample.reads) > 1]
        found: list[list[int]] = []
        for sample in again:
            if sample.reads:
                classes, problems = look_at_labels(sample.reads, self.tasks, sample.shape[-2:])
                found += [classes] if classes else []
                sample.problems += problems
        return [list(set(column)) for column in zip(*found, strict=True)] if by_task is None else by_task

    def _together(self, samples: Sequence[SampleLook]) -> list[list[int]]:
        """What `look` gives, if there is nothing wrong.

        Raises:
            ValueError: there is, whatever it is.
        """
        if not all(sample.reads for sample in samples):
            raise ValueError("a sample cannot be read")
        columns = label_columns([sample.reads[0] for sample in samples], self.tasks)
        read = read_columns(columns, self._groups)
        found: dict[str, list[int]] = {}
        for task, names in self._groups:
            index = task.embedding_index(read.together(names).flatten()).view(len(samples), len(names))
            found.update(zip(names, map(_distinct, index.unbind(1)), strict=True))
        for name, task in self.tasks.items():
            if task.is_map:
                found[name] = self._look_at_maps(name, columns[name], samples)
        return [found[name] for name in self.tasks]

    def _look_at_maps(self, name: str, column: Sequence[object], samples: Sequence[SampleLook]) -> list[int]:
        found: set[int] = set()
        for sample, label in zip(samples, column, strict=True):
            value, problems = look_at_label(name, self.tasks[name], [label], sample.shape[-2:])
            if problems:
                raise ValueError("a label map is wrong")
            found.add(value)
        return list(found)


def _distinct(values: Tensor) -> list[int]:
    return list(set(values.tolist()))
