"""Read every sample before anything is trained, and report all problems of a data set together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sized
from typing import Any, cast

from torch.utils.data import DataLoader, Dataset, IterableDataset

from mtlue._data.findings import Findings, Inspection
from mtlue._data.looks import Looks, TaskLabels, read_twice
from mtlue._data.reading import each_batch
from mtlue._runtime import current_job
from mtlue._tasks import Task


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

    In a call that several ranks make together, each reads a part, and all learn what the others have found.

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
    looks = Looks(dataset, TaskLabels(tasks), read_twice(dataset) if reread else frozenset())
    findings = Findings()
    classes: dict[str, set[int]] = {name: set() for name in tasks}
    job, length = current_job(), len(looks)
    part = range(length) if job is None else range(length * job.rank // job.size, length * (job.rank + 1) // job.size)
    for look in each_batch(looks, num_workers=num_workers, indices=part):
        findings.add(look)
        for values, found in zip(classes.values(), look.labels, strict=False):
            values.update(found)
    if job is not None:
        own = [findings.state(), {name: list(values) for name, values in classes.items()}]
        findings = Findings()
        for state, occurring in job.gathered(own):
            findings.take_over(state)
            for name, values in occurring.items():
                classes[name].update(values)
    return findings.conclude(tasks, classes)
