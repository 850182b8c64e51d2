"""Infer the tasks of a data set that does not name them."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any, cast

from torch import Tensor
from torch.utils.data import Dataset

from mtlue._data.problems import Problem, Problems, told_at_once
from mtlue._data.reading import each_sample, read_item
from mtlue._data.wrappers import whole_set
from mtlue._tasks import LabelSurvey, Task, named_labels, resolve_tasks


class _Labels(Dataset[dict[str, object]]):
    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(cast("Sized", self.dataset))

    def __getitem__(self, index: int) -> dict[str, object]:
        labels = named_labels(read_item(self.dataset, index)[1])
        # A worker cannot send tensors that carry a gradient.
        return {name: label.detach() if isinstance(label, Tensor) else label for name, label in labels.items()}


def infer_tasks(dataset: Dataset[Any], *, num_workers: int = 0) -> dict[str, Task]:
    """Return the ``tasks`` of the data set, or of the set that it is a subset of, or else those inferred; see `LabelSurvey`.

    Raises:
        TypeError: a label is not a number or array of numbers.
        ValueError: a sample is not a pair, or a task cannot be inferred from its labels.
    """
    # A subset may lack some of the classes.
    own = getattr(dataset, "tasks", getattr(whole_set(dataset), "tasks", None))
    if isinstance(own, Mapping):
        return resolve_tasks(own)
    survey = LabelSurvey()
    problems = Problems()
    for index, labels in enumerate(each_sample(_Labels(dataset), num_workers=num_workers)):
        for name, label in labels.items():
            try:
                survey.add(name, label)
            except TypeError as error:
                problems.add(index, Problem.of_label(error, label, name))
    if problems:
        raise TypeError(told_at_once(problems.lines()))
    return survey.tasks()
