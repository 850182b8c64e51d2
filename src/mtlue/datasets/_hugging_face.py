"""A data set of the Hugging Face library as pairs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.functional import pil_to_tensor

from mtlue._data import to_unit_floats
from mtlue._runtime import require
from mtlue._tasks import Classification, Task, Tasks, read_single
from mtlue.datasets._class_column import ClassColumn, read_classes, requested_tasks
from mtlue.datasets._images import check_channels, read_channels

# Types of columns that may hold classes.
_LABELS = ("bool", "string", "large_string", "int", "uint")


class HuggingFace(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """A ``datasets.Dataset`` with a column of images, for ``mtlue.protect(datasets.HuggingFace(rows))``.

    Needs the library ``datasets``: ``mtlue[huggingface]``. `mtlue.datasets.to_hugging_face` converts back.

    Labels are read once, when the adapter is made. A missing label is None, or -1 as in the library. A transform that was set
    with ``with_transform`` stays and makes the images; other formats are ignored.

    Args:
        dataset: One split, with random access.
        image: Column of the images, a ``datasets.Image``.
        tasks: Columns that are tasks: a list of names, or a dict of tasks by name as everywhere. None takes all columns of
            ``datasets.ClassLabel`` and of booleans; if there is none, those of integers. A column of text that you name has its
            classes in sorted order. Label maps that you name in a dict may be images or nested lists.
        channels: 1 converts each image to grey, 3 to RGB; None leaves grey images grey and converts all others to RGB.

    Attributes:
        tasks: The tasks by name.
        classes: For each column with names of classes, the names in the order of their classes.
        dataset: As given.
        image: As given.

    Raises:
        ImportError: the library is not installed.
        TypeError: an argument has the wrong type.
        ValueError: a column is missing or does not hold labels.

    Example:
        >>> import datasets  # Hugging Face's
        >>> from PIL import Image
        >>> from mtlue.datasets import HuggingFace
        >>> # Rows like those of datasets.load_dataset("ylecun/mnist", split="train").
        >>> columns = {"image": [Image.new("L", (28, 28))] * 3, "label": [5, 0, 4]}
        >>> types = {"image": datasets.Image(), "label": datasets.ClassLabel(num_classes=10)}
        >>> rows = datasets.Dataset.from_dict(columns, datasets.Features(types))
        >>> digits = HuggingFace(rows)
        >>> digits.tasks
        {'label': Classification(10)}
        >>> image, targets = digits[0]
        >>> image.shape, targets["label"]
        (torch.Size([1, 28, 28]), tensor(5))
    """

    def __init__(
        self,
        dataset: Any,
        *,
        image: str = "image",
        tasks: Tasks | Collection[str] | None = None,
        channels: int | None = None,
    ) -> None:
        library = require("datasets", extra="huggingface")
        _check_dataset(library, dataset)
        self._channels = check_channels(channels)
        self.dataset, self.image = dataset, image
        plain = dataset.with_format(None)
        transformed = dataset.format["type"] == "custom"
        features = plain.features
        if image not in features or not (transformed or isinstance(features[image], library.Image)):
            found = [name for name, feature in features.items() if isinstance(feature, library.Image)]
            raise ValueError(f"image: {image!r} is not a column of images; the data set has {found or 'none'}")
        wanted = requested_tasks(tasks)
        if wanted is None:
            wanted = dict.fromkeys(_label_columns(library, features, image))
        self.tasks: dict[str, Task] = {}
        self.classes: dict[str, list[str]] = {}
        self._labels: dict[str, Tensor] = {}
        for name, task in wanted.items():
            if name not in features or name == image:
                raise ValueError(f"tasks: found no column of labels {name!r}; the data set has {list(features)}")
            if task is not None and task.is_map:
                self.tasks[name] = task
                continue
            column = _read_column(library, plain, name, task)
            self.tasks[name] = column.task
            self._labels[name] = column.labels
            if column.names is not None:
                self.classes[name] = column.names
        used = [image, *(name for name in self.tasks if name not in self._labels)]
        decoded = {name: library.Image(mode=features[name].mode) for name in used if isinstance(features[name], library.Image)}
        for name, feature in decoded.items():
            plain = plain if features[name].decode else plain.cast_column(name, feature)
        self._rows = dataset if transformed else plain.select_columns(used)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the image (C, H, W) in [0, 1] and a tensor for each task: int64 of shape () for a class.

        Raises:
            ValueError: the row has no image, or one that cannot be read.
            IndexError: the index is out of range.
        """
        try:
            row = self._rows[index]
            image = read_channels(row[self.image], self._channels)
        except IndexError:
            raise
        # Any code may decode the row, and fail in any way: on a damaged file, or in a transform.
        except Exception as error:
            raise ValueError(f"{_where(index, self.image)}: {error}") from error
        return to_unit_floats(image), {name: self._target(name, task, row, index) for name, task in self.tasks.items()}

    def _target(self, name: str, task: Task, row: dict[str, Any], index: int) -> Tensor:
        if name in self._labels:
            return self._labels[name][index].long()
        value = row[name]
        # A map of classes, stored as an image, keeps its numbers. The palette is for display only.
        label = pil_to_tensor(value) if hasattr(value, "getbands") else torch.as_tensor(value)
        return read_single(label, task).squeeze(0)

    def __repr__(self) -> str:
        """Return size, image column and tasks."""
        return f"HuggingFace({len(self)} samples, image={self.image!r}, tasks={self.tasks})"


def _check_dataset(library: Any, dataset: Any) -> None:
    if isinstance(dataset, library.Dataset):
        return
    if isinstance(dataset, library.DatasetDict | library.IterableDatasetDict):
        raise TypeError(f"dataset: expected one split, got {type(dataset).__name__}; take one of {list(dataset)}")
    hint = "; load it without streaming=True" if isinstance(dataset, library.IterableDataset) else ""
    raise TypeError(f"dataset: expected a datasets.Dataset, got {type(dataset).__name__}{hint}")


def _label_columns(library: Any, features: Any, image: str) -> list[str]:
    # Columns whose type says that they are labels.
    dtypes = {name: feature.dtype for name, feature in features.items() if isinstance(feature, library.Value)}
    classes = [name for name in features if isinstance(features[name], library.ClassLabel) or dtypes.get(name) == "bool"]
    # Integers are often identifiers, so they count only if no column is plainly a class.
    found = classes or [name for name, dtype in dtypes.items() if dtype.startswith(("int", "uint"))]
    if not found:
        others = [name for name in features if name != image]
        raise ValueError(f"tasks: no column has a type that holds classes; name the columns to use, from {others}")
    return found


def _read_column(library: Any, dataset: Any, name: str, task: Task | None) -> ClassColumn:
    feature = dataset.features[name]
    is_class = isinstance(feature, library.ClassLabel)
    if not is_class and not (isinstance(feature, library.Value) and feature.dtype.startswith(_LABELS)):
        raise ValueError(f"tasks: column {name!r} is {feature}, which does not hold a class; expected one column for each task")
    if task is None and is_class:
        task = Classification(max(feature.num_classes, 2))
    cells = [_cell(value) for value in dataset.select_columns([name])[:][name]]
    column = read_classes(cells, task=task, names=None, where=partial(_where, column=name))
    return replace(column, names=list(feature.names)) if is_class else column


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, bool) else str(value).strip()


def _where(row: int, column: str) -> str:
    return f"row {row}, column {column!r}"
