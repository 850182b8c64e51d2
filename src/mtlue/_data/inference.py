"""Infer the tasks of a data set that does not name them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtlue._data.findings import Findings, Inspection
from mtlue._data.looks import Looks, SampleLook, read_twice
from mtlue._data.problems import Problem, Problems, told_at_once
from mtlue._data.reading import each_batch, read_item
from mtlue._data.wrappers import whole_set
from mtlue._tasks import LabelSurvey, Task, named_labels, resolve_tasks


class _Labels(Dataset[list[dict[str, object]]]):
    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(cast("Sized", self.dataset))

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, object]]:
        return [self._named(index) for index in indices]

    def _named(self, index: int) -> dict[str, object]:
        labels = named_labels(read_item(self.dataset, index)[1])
        # A worker cannot send tensors that carry a gradient.
        return {name: label.detach() if isinstance(label, Tensor) else label for name, label in labels.items()}


class _PlainClasses:
    """Reads labels of which nothing need be known to read them: an integer for each of the same tasks, in each sample."""

    def look(self, samples: Sequence[SampleLook]) -> tuple[list[str], Tensor] | None:
        """The names of the tasks, and classes (B, K); None where the labels are others, or there is anything wrong."""
        if any(sample.problems or not sample.reads for sample in samples):
            return None
        names = list(named_labels(samples[0].reads[0]))
        classes = _class_matrix([sample.reads[0] for sample in samples], names)
        again = [(row, sample.reads[1]) for row, sample in enumerate(samples) if len(sample.reads) > 1]
        if classes is None or not again:
            return None if classes is None else (names, classes)
        others = _class_matrix([targets for _, targets in again], names)
        same = others is not None and torch.equal(others, classes[[row for row, _ in again]])
        return (names, classes) if same else None


def _class_matrix(targets: Sequence[object], names: list[str]) -> Tensor | None:
    """Labels as classes, -1 where one is missing, (B, K); None where they are none, or there are other tasks."""
    if all(isinstance(each, Tensor) and each.shape == (len(names),) for each in targets):
        return _classes(torch.stack([each for each in targets if isinstance(each, Tensor)]))
    by_sample = [named_labels(each) for each in targets]
    if not all(list(labels) == names for labels in by_sample):
        return None
    if any(getattr(label, "ndim", 0) for labels in by_sample for label in labels.values()):
        return None
    try:
        return _classes(torch.tensor([[labels[name] for name in names] for labels in by_sample]))
    except (TypeError, ValueError, RuntimeError):
        return None


def _classes(matrix: Tensor) -> Tensor | None:
    if matrix.ndim != 2 or not matrix.numel() or matrix.is_floating_point() or matrix.is_complex():
        return None
    return None if bool((matrix < -1).any()) else matrix.long()


def infer_tasks(dataset: Dataset[Any], *, num_workers: int = 0) -> dict[str, Task]:
    """Return the ``tasks`` of the data set, or of the set that it is a subset of, or else those inferred; see `LabelSurvey`.

    Raises:
        TypeError: a label is not a number or array of numbers.
        ValueError: a sample is not a pair, or a task cannot be inferred from its labels.
    """
    own = _named_tasks(dataset)
    if own is not None:
        return resolve_tasks(own)
    found = _from_classes(dataset, num_workers)
    return _from_each_label(dataset, num_workers) if found is None else found[0].tasks()


def infer_and_inspect(dataset: Dataset[Any], *, num_workers: int = 0) -> tuple[dict[str, Task], Inspection | None]:
    """The tasks of a data set, and what `inspect_dataset` would find if the read that told the tasks has told that too.

    It has where the labels are classes of images and nothing is wrong with a sample.

    Raises:
        TypeError: a label is not a number or array of numbers.
        ValueError: a task cannot be told from its labels, or samples do not fit each other.
    """
    found = None if _named_tasks(dataset) is not None else _from_classes(dataset, num_workers)
    if found is None:
        return infer_tasks(dataset, num_workers=num_workers), None
    survey, findings = found
    tasks = survey.tasks()
    return tasks, findings.conclude(tasks, survey.classes)


def _named_tasks(dataset: Dataset[Any]) -> Mapping[str, Task | int] | None:
    # A subset may lack some of the classes.
    own = getattr(dataset, "tasks", getattr(whole_set(dataset), "tasks", None))
    return own if isinstance(own, Mapping) else None


def _from_classes(dataset: Dataset[Any], num_workers: int) -> tuple[LabelSurvey, Findings] | None:
    survey, findings = LabelSurvey(), Findings()
    names: list[str] = []
    for look in each_batch(Looks(dataset, _PlainClasses(), read_twice(dataset)), num_workers=num_workers):
        if look.labels is None or (names and look.labels[0] != names):
            return None
        names, classes = look.labels
        for name, column in zip(names, classes.unbind(1), strict=True):
            survey.add_classes(name, column.tolist())
        findings.add(look)
    return survey, findings


def _from_each_label(dataset: Dataset[Any], num_workers: int) -> dict[str, Task]:
    survey = LabelSurvey()
    problems = Problems()
    index = 0
    for batch in each_batch(_Labels(dataset), num_workers=num_workers):
        for labels in batch:
            for name, label in labels.items():
                try:
                    survey.add(name, label)
                except TypeError as error:
                    problems.add(index, Problem.of_label(error, label, name))
            index += 1
    if problems:
        raise TypeError(told_at_once(problems.lines()))
    return survey.tasks()
