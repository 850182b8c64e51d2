"""A data set with some of its tasks."""

from __future__ import annotations

from collections.abc import Collection, Sized
from typing import Any, cast

from torch.utils.data import Dataset

from mtlue._checks import check_task_names
from mtlue._tasks import Task, Tasks, resolve_tasks, split_by_task


class SelectedTasks(Dataset[tuple[Any, dict[str, object]]]):
    """A data set with the labels of some of its tasks, for a victim that is trained on these only.

    Args:
        dataset: Pairs (image, targets) with targets in any form.
        tasks: All tasks of the data set, in order.
        names: The tasks to keep.

    Attributes:
        dataset: The whole data set.
        tasks: The tasks that are kept.

    Raises:
        ValueError: a name is not the name of a task.

    Example:
        >>> import torch
        >>> from mtlue.evaluation import SelectedTasks
        >>> dataset = [(torch.rand(3, 8, 8), torch.tensor([1, 4]))]
        >>> SelectedTasks(dataset, {"gender": 2, "race": 5}, ["race"])[0][1]
        {'race': tensor(4)}
    """

    def __init__(self, dataset: Dataset[Any], tasks: Tasks, names: Collection[str]) -> None:
        self.dataset, self._all = dataset, resolve_tasks(tasks)
        kept = check_task_names("names", names, self._all)
        self.tasks: dict[str, Task] = {name: task for name, task in self._all.items() if name in kept}

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(cast("Sized", self.dataset))

    def __getitem__(self, index: int) -> tuple[Any, dict[str, object]]:
        """Return the image, and the kept labels by task."""
        image, targets = self.dataset[index]
        labels = split_by_task(targets, self._all, what="targets")
        return image, {name: labels[name] for name in self.tasks}

    def __repr__(self) -> str:
        """Return the size and the kept tasks."""
        return f"SelectedTasks({len(self)} samples, tasks={self.tasks})"
