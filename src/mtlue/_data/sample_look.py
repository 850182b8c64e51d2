"""One sample looked at closely, for the message that names it and what is wrong with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtlue._data.images import read_image
from mtlue._data.problems import Problem
from mtlue._data.reading import item_problem
from mtlue._tasks import Task, read_single, split_by_task


def look_at_image(image: object) -> tuple[Tensor | None, list[Problem]]:
    """An image as `read_image` gives it, None where it cannot be read, and what is wrong with it."""
    try:
        read = read_image(image)
    except (TypeError, ValueError) as error:
        return None, [Problem(f"image: {error}")]
    return read, Problem.of_image(read)


def read_again(dataset: Dataset[Any], index: int, image: Tensor) -> tuple[list[object], list[Problem]]:
    """Read a sample a second time: its targets of that time, if there are any, and how its image differs."""
    try:
        item = dataset[index]
        again, targets = read_image(item[0]), item[1]
    except Exception as error:
        return [], [Problem(f"cannot be read a second time: {type(error).__name__}: {error}")]
    if again.shape == image.shape and torch.equal(again, image):
        return [targets], []
    text = (
        "the image differs between two reads, as random augmentation does; take it out of the data set, and "
        "give it to the protected set with with_transform"
    )
    return [targets], [Problem(text)]


def read_pair(dataset: Dataset[Any], index: int) -> tuple[Any, list[Problem]]:
    """A sample as the data set gives it, and why it is not a pair of image and targets."""
    try:
        item = dataset[index]
    except Exception as error:
        return None, [Problem(f"cannot be read: {type(error).__name__}: {error}")]
    problem = item_problem(item)
    return item, [] if problem is None else [Problem(problem)]


def look_at_labels(
    reads: Sequence[object], tasks: Mapping[str, Task], size: tuple[int, ...]
) -> tuple[list[int], list[Problem]]:
    """The class of each task, and what is wrong with the labels of a sample.

    Args:
        reads: Its targets, read once or more.
        tasks: The tasks.
        size: Height and width of its image, which label maps have, too; empty where it cannot be read.

    Returns:
        Row of the embedding of each task, -1 where the label is missing; nothing where the targets cannot be told apart.
    """
    try:
        by_read = [split_by_task(targets, tasks, what="targets") for targets in reads]
    except (TypeError, ValueError) as error:
        return [], [Problem(str(error))]
    classes: list[int] = []
    problems: list[Problem] = []
    for name, task in tasks.items():
        found, wrong = look_at_label(name, task, [labels[name] for labels in by_read], size)
        classes.append(found)
        problems += wrong
    return classes, problems


def look_at_label(name: str, task: Task, reads: Sequence[object], size: tuple[int, ...]) -> tuple[int, list[Problem]]:
    """The class of one task, 0 for a map, and what is wrong with its label. Arguments are those of `look_at_labels`."""
    problems: list[Problem] = []
    try:
        target, *again = (read_single(label, task) for label in reads)
    except (TypeError, ValueError) as error:
        return 0, [Problem.of_label(error, reads[0], name)]
    if not all(_same(target, other) for other in again):
        text = (
            f"task {name!r}: the label differs between two reads, as random relabelling or shuffling does; decide "
            "on labels and order before you give the data set, so that every read of a sample gives the same"
        )
        problems.append(Problem(text))
    if not task.is_map:
        return int(task.embedding_index(target)[0]), problems
    if size and target.shape[-2:] != size:
        sizes = f"{tuple(target.shape[-2:])} pixels, the image has {tuple(size)}"
        problems.append(Problem(f"task {name!r}: label map of {sizes}"))
    return -int(bool(task.missing(target)[0])), problems


def _same(target: Tensor, other: Tensor) -> bool:
    # Not a number is what an unknown depth may be.
    return target.shape == other.shape and bool(((target == other) | (target.isnan() & other.isnan())).all())
