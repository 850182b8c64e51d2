"""Tasks of a data set that does not name them."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any, cast

import torch
from torch.utils.data import DataLoader, Dataset

from mtlue._data.inspection import item_problem
from mtlue._data.problems import Problem, Problems, told_at_once
from mtlue._tasks import LabelSurvey, Task, named_labels, resolve_tasks


class _Targets(Dataset[Any]):
    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(cast("Sized", self.dataset))

    def __getitem__(self, index: int) -> Any:
        item = self.dataset[index]
        problem = item_problem(item)
        if problem is not None:
            raise ValueError(f"dataset: sample {index}: {problem}")
        return item[1]


def infer_tasks(dataset: Dataset[Any], *, num_workers: int = 0) -> dict[str, Task]:
    """The data set's own ``tasks`` if it has them, else what its labels say; see `LabelSurvey`.

    Raises:
        TypeError: a label is no number or array of numbers.
        ValueError: a sample is no pair, or a task cannot be told from its labels.
    """
    own = getattr(dataset, "tasks", None)
    if isinstance(own, Mapping):
        return resolve_tasks(own)
    survey = LabelSurvey()
    loader: DataLoader[Any] = DataLoader(
        _Targets(dataset), batch_size=64, num_workers=num_workers, collate_fn=list, generator=torch.Generator()
    )
    problems, index = Problems(), 0
    for batch in loader:
        for targets in batch:
            for name, label in named_labels(targets).items():
                try:
                    survey.add(name, label)
                except TypeError as error:
                    problems.add(index, Problem.of_label(error, label, name))
            index += 1
    if problems:
        raise TypeError(told_at_once(problems.lines()))
    return survey.tasks()
