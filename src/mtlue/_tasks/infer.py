"""Infer tasks from the labels of a data set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from mtlue._tasks.base import Task
from mtlue._tasks.classification import Classification
from mtlue._tasks.depth import Depth
from mtlue._tasks.labels import NUMBER_THEM
from mtlue._tasks.normals import SurfaceNormals
from mtlue._tasks.resolve import is_array
from mtlue._tasks.segmentation import Segmentation

# A small set may well have each class once. But a set of labels never has a thousand classes more than labels.
_FEW, _MANY = 20, 1000


def are_identifiers(distinct: int, labels: int, largest: int) -> bool:
    """Return whether labels with so many different values are not classes but names, dates or file numbers.

    Args:
        distinct: Number of different values.
        labels: Number of labels.
        largest: The largest of the classes, which start at 0.
    """
    return distinct == labels >= _FEW or largest >= max(labels, _MANY)


class LabelSurvey:
    """Looks at the labels of a data set one by one, and then infers the tasks.

    Integers are classes, from 0 to the largest one seen, of an image or of its pixels. A float map of one channel is depth, one
    of three channels surface normals. -1 is a missing label. Tasks without names are called ``task0``, ``task1``, …
    """

    def __init__(self) -> None:
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._largest: dict[str, int] = {}
        self._is_float: dict[str, bool] = {}
        self._labels: Counter[str] = Counter()
        self._distinct: dict[str, set[int]] = {}
        self._missing: set[str] = set()

    def add(self, name: str, label: object) -> None:
        """Add the label of a sample.

        Raises:
            TypeError: the label is not a number or an array of numbers.
        """
        try:
            values = torch.as_tensor(label)
        except (TypeError, ValueError, RuntimeError):
            cure = "; use -1 for a missing label" if label is None else NUMBER_THEM if isinstance(label, str) else ""
            raise TypeError(f"expected a number or an array, got {label!r}{cure}") from None
        self._shapes.setdefault(name, tuple(values.shape))
        # A class may come as 1.0. A float map holds readings, even if they are whole numbers.
        fractional = values.is_floating_point() and (values.ndim > 1 or not torch.equal(values, values.round()))
        self._is_float[name] = self._is_float.get(name, False) or fractional
        if not fractional and values.numel():
            largest = int(values.long().max())
            self._largest[name] = max(self._largest.get(name, 0), largest)
            if values.numel() == 1 and largest >= 0:
                self._labels[name] += 1
                self._distinct.setdefault(name, set()).add(largest)

    def add_classes(self, name: str, classes: Sequence[int]) -> None:
        """Look at the labels of some samples that are known to be integers, -1 for a missing one."""
        self._shapes.setdefault(name, ())
        self._is_float.setdefault(name, False)
        present = [each for each in classes if each >= 0]
        self._labels[name] += len(present)
        self._missing |= {name} if len(present) < len(classes) else set()
        distinct = self._distinct.setdefault(name, set())
        distinct.update(present)
        self._largest[name] = max(distinct, default=0)

    @property
    def classes(self) -> dict[str, set[int]]:
        """What occurred of what `add_classes` looked at, by task; -1 among it where a label is missing."""
        return {name: values | ({-1} if name in self._missing else set()) for name, values in self._distinct.items()}

    def tasks(self) -> dict[str, Task]:
        """Return the tasks.

        Raises:
            ValueError: there are no labels, or a task cannot be inferred from its labels.
        """
        if not self._shapes:
            raise ValueError("tasks: the targets hold no labels to read tasks from, such as {'age': 4}")
        return {name: self._task(name, shape) for name, shape in self._shapes.items()}

    def _task(self, name: str, shape: tuple[int, ...]) -> Task:
        largest = self._largest.get(name, 0)
        classes = max(largest + 1, 2)
        if not self._is_float[name]:
            distinct, labels = len(self._distinct.get(name, ())), self._labels[name]
            if are_identifiers(distinct, labels, largest):
                raise ValueError(
                    f"tasks: {name!r} has {distinct} different values up to {largest} in {labels} labels, which look like "
                    f"identifiers, not classes; name the tasks with tasks={{...}}, with {name!r}: {classes} if they are classes"
                )
            if len(shape) <= 1 and torch.Size(shape).numel() == 1:
                return Classification(classes)
            if len(shape) == 2 or (len(shape) == 3 and shape[0] == 1):
                return Segmentation(classes)
        elif len(shape) == 2 or (len(shape) == 3 and shape[0] == 1):
            return Depth()
        elif len(shape) == 3 and shape[0] == 3:
            return SurfaceNormals()
        kind = "fractional" if self._is_float[name] else "integer"
        cure = f"give tasks={{{name!r}: ...}}" + ("; one-hot? give its argmax" if len(shape) == 1 else "")
        raise ValueError(f"tasks: cannot tell what task {name!r} is from {kind} labels of shape {shape}; {cure}")


def named_labels(targets: object) -> dict[str, object]:
    """Return the labels of a sample by the names of their tasks."""
    if isinstance(targets, Mapping):
        return {str(name): label for name, label in targets.items()}
    if (isinstance(targets, Tensor) or is_array(targets)) and targets.ndim == 1:
        return {f"task{index}": label for index, label in enumerate(targets)}
    if isinstance(targets, Sequence) and not isinstance(targets, str | bytes):
        return {f"task{index}": label for index, label in enumerate(targets)}
    return {"task0": targets}
