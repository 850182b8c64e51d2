"""Learned embeddings for each class of each task."""

from __future__ import annotations

import math
from collections.abc import Collection, ItemsView, Iterator, Mapping
from typing import cast

import torch
from torch import Tensor, nn

from mtlue._checks import check_task_names
from mtlue._runtime import total_memory, warn
from mtlue._tasks import Task, Tasks, read_targets, resolve_tasks


class ClassEmbeddingBank(nn.Module):
    """A learnable tensor for each class of each classification task (section 4.3).

    Args:
        tasks: Tasks by name. An integer n means ``Classification(n)``. Tasks whose labels are maps are skipped.
        channels: Channels of an embedding.
        size: Height and width of an embedding, (h, w). Inside a generator it is half the image's, rounded up.

    Raises:
        TypeError: ``tasks`` is not a mapping of names to tasks.
        ValueError: ``channels`` or ``size`` is not positive, a number of classes is out of range, or the tables do not fit into
            the memory of this machine.

    ``bank[name]`` is the table of a task: a parameter of shape (C_k, channels, h, w), drawn from N(0, 1).

    Example:
        >>> import torch, mtlue
        >>> bank = mtlue.ClassEmbeddingBank({"age": 9, "gender": 2}, channels=4, size=(8, 8))
        >>> bank["age"].shape
        torch.Size([9, 4, 8, 8])
        >>> bank({"age": torch.tensor([3, 8]), "gender": torch.tensor([1, -1])}).shape
        torch.Size([2, 8, 8, 8])
    """

    def __init__(self, tasks: Tasks, *, channels: int = 16, size: tuple[int, int]) -> None:
        super().__init__()
        if channels < 1 or len(size) != 2 or min(size) < 1:
            raise ValueError(f"channels, size: expected positive numbers, got {channels} and {size}")
        self._all_tasks: dict[str, Task] = resolve_tasks(tasks)
        self.tasks: dict[str, Task] = {name: task for name, task in self._all_tasks.items() if not task.is_map}
        _check_memory(self.tasks, math.prod((channels, *size)))
        self.channels = channels
        self.size = tuple(size)
        # A list, not a ParameterDict: a task may have any name, even that of an attribute of a module.
        self._tables = nn.ParameterList(torch.randn(task.num_embeddings, channels, *size) for task in self.tasks.values())
        self._position = {name: position for position, name in enumerate(self.tasks)}

    def __getitem__(self, name: str) -> nn.Parameter:
        """Return the table of a task, shape (C_k, channels, h, w)."""
        return cast("nn.Parameter", self._tables[self._position[name]])

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of the tasks that have a table."""
        return iter(self.tasks)

    def __len__(self) -> int:
        return len(self.tasks)

    def __contains__(self, name: object) -> bool:
        """Return whether a task has a table."""
        return name in self._position

    def items(self) -> ItemsView[str, nn.Parameter]:
        """Return names and tables in task order."""
        return {name: self[name] for name in self}.items()

    def forward(self, targets: object, *, protected_tasks: Collection[str] | None = None) -> Tensor:
        """Return the embeddings of a batch, concatenated along the channels.

        Args:
            targets: Labels of the bank's tasks, in any form that a data set may return.
            protected_tasks: Names of the tasks to protect. None means all.

        Returns:
            Shape (B, K * channels, h, w). A missing label, and every label of an unprotected task, gets the mean embedding of
            its task (section 5.3).

        Raises:
            ValueError: a task is missing from the targets, a label is out of range, or ``protected_tasks`` has an unknown name.
            TypeError: a label has a type that cannot be read.
        """
        protected = check_task_names("protected_tasks", protected_tasks, self._all_tasks)
        read = read_targets(targets, self.tasks)
        parts = []
        for name, table in self.items():
            index = self.tasks[name].embedding_index(read[name].to(table.device))
            if name not in protected:
                index = torch.full_like(index, -1)
            parts.append(select_embeddings(table, index))
        return torch.cat(parts, dim=1)

    def extra_repr(self) -> str:
        classes = ", ".join(f"{name}: {task.num_embeddings}" for name, task in self.tasks.items())
        return f"{{{classes}}}, channels={self.channels}, size={self.size}"


def _check_memory(tasks: Mapping[str, Task], entries: int) -> None:
    """Refuse tables that do not fit into this machine's memory, and warn about tables that cannot be trained on it.

    Args:
        tasks: The tasks that get a table.
        entries: Entries of an embedding.

    Raises:
        ValueError: the tables do not fit.
    """
    classes = sum(task.num_embeddings for task in tasks.values())
    tables, memory = 4 * classes * entries, total_memory(torch.device("cpu"))
    # With the gradient and Adam's two moments, and with the cosines of all pairs and their gradient, for the regularisers.
    training = 4 * tables + 3 * 4 * classes**2
    if training <= memory:
        return
    name, largest = max(((name, task.num_embeddings) for name, task in tasks.items()), key=lambda pair: pair[1])
    told = (
        f"tasks: the embeddings of {classes} classes, {largest} of them of task {name!r}, take {_gigabytes(tables)}, and "
        f"{_gigabytes(training)} in training, but this machine has {_gigabytes(memory)}. If {name!r} is an identifier, leave "
        "it out; otherwise merge classes, or use smaller images or fewer embedding_channels"
    )
    if tables > memory:
        raise ValueError(told)
    warn(told)


def _gigabytes(count: int) -> str:
    return f"{count / 2**30:.3g} GiB"


def select_embeddings(table: Tensor, index: Tensor) -> Tensor:
    """Return rows of a table, shape (B, ...). The index -1 gives the mean row."""
    chosen = table[index.clamp_min(0)]
    missing = (index < 0).reshape(-1, *[1] * (table.ndim - 1))
    return torch.where(missing, table.mean(dim=0), chosen)


def selection_weights(index: Tensor, num_embeddings: int, *, dtype: torch.dtype) -> Tensor:
    """Return the matrix (B, C) that selects what `select_embeddings` selects from a table.

    A row is one-hot, or 1/C everywhere if the index is -1. So a missing label costs nothing extra.
    """
    classes = torch.arange(num_embeddings, device=index.device)
    weights = (index.unsqueeze(1) == classes).to(dtype)
    return torch.where((index < 0).unsqueeze(1), 1.0 / num_embeddings, weights)
