"""A data set of the Hugging Face library as pairs."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.functional import pil_to_tensor

from mtlue._data import to_unit_floats
from mtlue._runtime import require
from mtlue._tasks import Task, Tasks, read_single
from mtlue.datasets._class_column import requested_tasks
from mtlue.datasets._hugging_face_columns import choose_columns, place, read_column
from mtlue.datasets._images import check_channels, read_channels


class HuggingFace(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """A ``datasets.Dataset`` with a column of images, for ``mtlue.protect(datasets.HuggingFace(rows))``.

    Needs the library ``datasets``: ``mtlue[huggingface]``. `mtlue.datasets.to_hugging_face` converts back.

    Labels are read once, when the adapter is made. A missing label is None, or -1 as in the library. A transform that was set
    with ``with_transform`` stays and makes the images; other formats are ignored.

    Args:
        dataset: One split, with random access.
        image: Column of the images, a ``datasets.Image``.
        tasks: Columns that are tasks: a list of names, or a dict of tasks by name as everywhere. None takes all columns of
            ``datasets.ClassLabel`` and of booleans; if there is none, those of integers. Of these it leaves out columns with
            one class alone, or with a different value in every row. A column of text that you name has its classes in sorted
            order. Label maps that you name in a dict may be images or nested lists.
        channels: 1 converts each image to grey, 3 to RGB; None leaves grey images grey and converts all others to RGB.

    Attributes:
        tasks: The tasks by name.
        classes: For each column with names of classes, the names in the order of their classes.
        left_out: The columns that are not tasks, each with the reason. ``print(HuggingFace(rows))`` shows them too.
        dataset: As given.
        image: As given.

    Raises:
        ImportError: the library is not installed.
        TypeError: an argument has the wrong type.
        ValueError: a column is missing or does not hold labels, such as one with a different value in every row.

    Example:
        >>> import datasets  # Hugging Face's
        >>> from PIL import Image
        >>> from mtlue.datasets import HuggingFace
        >>> # Rows like those of datasets.load_dataset("ylecun/mnist", split="train").
        >>> columns = {"image": [Image.new("L", (28, 28))] * 3, "label": [5, 0, 4], "writer": ["Ann", "Ben", "Ann"]}
        >>> label = datasets.ClassLabel(num_classes=10)
        >>> types = {"image": datasets.Image(), "label": label, "writer": datasets.Value("string")}
        >>> rows = datasets.Dataset.from_dict(columns, datasets.Features(types))
        >>> digits = HuggingFace(rows)
        >>> digits.tasks, digits.left_out
        ({'label': Classification(10)}, {'writer': 'text, and not named in tasks=[...]'})
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
            chosen, self.left_out = choose_columns(library, plain, image)
            wanted = dict.fromkeys(chosen)
        else:
            self.left_out = {name: "not named in tasks" for name in features if name not in {image, *wanted}}
        self.tasks: dict[str, Task] = {}
        self.classes: dict[str, list[str]] = {}
        self._labels: dict[str, Tensor] = {}
        for name, task in wanted.items():
            if name not in features or name == image:
                raise ValueError(f"tasks: found no column of labels {name!r}; the data set has {list(features)}")
            if task is not None and task.is_map:
                self.tasks[name] = task
                continue
            column = read_column(library, plain, name, task)
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

    @property
    def files(self) -> list[str]:
        """The file of each image as its column has it. Empty if the column has none."""
        library = require("datasets", extra="huggingface")
        images = self.dataset.with_format(None).select_columns([self.image])
        if not isinstance(images.features[self.image], library.Image):
            return [""] * len(self)
        paths = images.cast_column(self.image, library.Image(decode=False)).flatten()[f"{self.image}.path"]
        return [path or "" for path in paths]

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
            raise ValueError(f"{place(index, self.image)}: {error}") from error
        return to_unit_floats(image), {name: self._target(name, task, row, index) for name, task in self.tasks.items()}

    def _target(self, name: str, task: Task, row: dict[str, Any], index: int) -> Tensor:
        if name in self._labels:
            return self._labels[name][index].long()
        value = row[name]
        # A map of classes, stored as an image, keeps its numbers. The palette is for display only.
        label = pil_to_tensor(value) if hasattr(value, "getbands") else torch.as_tensor(value)
        return read_single(label, task).squeeze(0)

    def __repr__(self) -> str:
        """Return size, image column and tasks, and the columns that are left out and why."""
        left_out = f", left_out={self.left_out}" if self.left_out else ""
        return f"HuggingFace({len(self)} samples, image={self.image!r}, tasks={self.tasks}{left_out})"


def _check_dataset(library: Any, dataset: Any) -> None:
    if isinstance(dataset, library.Dataset):
        return
    if isinstance(dataset, library.DatasetDict | library.IterableDatasetDict):
        raise TypeError(f"dataset: expected one split, got {type(dataset).__name__}; take one of {list(dataset)}")
    hint = (
        "; load it without streaming=True, or give pairs from it to mtlue.fit as a stream"
        if isinstance(dataset, library.IterableDataset)
        else ""
    )
    raise TypeError(f"dataset: expected a datasets.Dataset, got {type(dataset).__name__}{hint}")
