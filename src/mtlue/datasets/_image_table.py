"""A folder of images with a table of labels."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from mtlue._checks import check_image_size
from mtlue._data import to_unit_floats
from mtlue._formats import EXPORT_MANIFEST, NPY, ImageFiles, check_finished, find_map, load_array, read_class_names
from mtlue._tasks import Task, Tasks, read_single
from mtlue.datasets._class_column import check_class_names, fitting_names, read_classes, requested_tasks
from mtlue.datasets._files import check_root
from mtlue.datasets._images import check_channels, read_channels, reading, resize_image, upright
from mtlue.datasets._label_table import check_columns, find_image_column, image_faults, listed, missing_maps, read_table

_FEW = 8


class ImageTable(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    r"""Images in a folder, with a CSV file that has one line for each image and one column for each task.

    `mtlue.ProtectedDataset.export` writes this form too::

        root/labels.csv             file,race,gender
                                    images/000000.png,2,female
                                    images/000001.png,0,
        root/images/000000.png ...

    A column of integers holds classes from 0 on. Any other column holds names of classes, which are numbered in sorted order.
    An empty cell, or -1 among integers, is a missing label. If ``tasks`` names label maps, they are read from
    ``labels/<task>/<folder and name of the image>.npy``, or without that folder. Class names for a column of integers are read
    from ``classes.json`` beside the table, a dict of lists by column.

    Args:
        root: The folder that the paths in the table start from. They must not leave it.
        table: The CSV file, relative to ``root``, with commas, semicolons or tabs between the cells, and names of the columns
            in the first line. Each image has one line.
        image_column: Column with the path of the image; None takes the first.
        tasks: Columns that are tasks: a list of names, or a dict of tasks by name as everywhere. None takes all but the
            image column.
        classes: Names of the classes of a column, in order; its cells are these names or numbers. Give a test set
            ``classes=train.classes`` and ``tasks=train.tasks``, so that it numbers them as the training set does.
        channels: 1 converts each image to grey, 3 to RGB; None leaves grey images grey and converts all others to RGB.
        image_size: A side, or height and width, to resize the images to; None leaves them as they are.
        format: Your own format, which reads the images with its suffix. NumPy files, and what Pillow opens, need none.

    Attributes:
        tasks: The tasks by name.
        classes: For each column whose classes have names, the names in the order of the classes.
        image_size: Height and width, or None.
        is_protected: Whether the folder is an export of a protected set, which must not be protected again.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or the table has faults. The message lists all of them, with line and column.
        FileNotFoundError: the folder or the table does not exist.

    Example:
        >>> import pathlib, tempfile
        >>> from PIL import Image
        >>> from mtlue import datasets
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for name in ("a.png", "b.png"):
        ...         Image.new("RGB", (20, 20)).save(f"{root}/{name}")
        ...     _ = pathlib.Path(root, "labels.csv").write_text("image,age,pet\na.png,3,dog\nb.png,,cat")
        ...     animals = datasets.ImageTable(root)
        ...     image, targets = animals[0]
        >>> image.shape, targets, animals.classes
        (torch.Size([3, 20, 20]), {'age': tensor(3), 'pet': tensor(1)}, {'pet': ['cat', 'dog']})
        >>> animals
        ImageTable(2 samples, root='...', image_size=None, tasks={age: 4 classes (1 missing), pet: 2 classes (cat 1, dog 1)})
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        table: str | os.PathLike[str] = "labels.csv",
        image_column: str | None = None,
        tasks: Tasks | Collection[str] | None = None,
        classes: Mapping[str, Sequence[str]] | None = None,
        channels: int | None = None,
        image_size: int | tuple[int, int] | None = None,
        format: ImageFiles | None = None,
    ) -> None:
        self.root = check_root(root, source="expected a folder with images and a table of labels")
        check_finished(self.root)
        #: Whether the folder declares its images protected.
        self.is_protected = (self.root / EXPORT_MANIFEST).is_file()
        self.image_size = check_image_size(image_size)
        self._channels = check_channels(channels)
        self._formats = _check_format(format)
        wanted = requested_tasks(tasks)
        names = check_class_names(classes)
        labels = read_table(self.root / table, self.root)
        image_column = find_image_column(labels, image_column)
        if wanted is None:
            wanted = {name: None for name in labels.columns if name != image_column}
        check_columns(labels, wanted, names, image_column)
        self._paths = [str(self.root / cell) for cell in labels.columns[image_column]]
        faults = image_faults(labels, image_column, self._paths)
        told = fitting_names(read_class_names(labels.path.parent), labels.columns, wanted)
        self.tasks: dict[str, Task] = {}
        self.classes: dict[str, list[str]] = {}
        self._labels: dict[str, Tensor] = {}
        for name, task in wanted.items():
            if task is not None and task.is_map:
                self.tasks[name] = task
                faults += missing_maps(self.root, name, self._paths)
                continue
            try:
                where = partial(labels.where, column=name)
                known = names.get(name, told.get(name))
                if name in told and known is not None and known != told[name] and set(known) == set(told[name]):
                    raise ValueError(f"classes: {name!r}: the numbers in the table stand for {told[name]}, not for {known}")
                numbered = name in told and known == told[name]
                column = read_classes(labels.columns[name], task=task, names=known, where=where, numbered=numbered)
            except ValueError as error:
                faults.append(str(error))
                continue
            self.tasks[name] = column.task
            self._labels[name] = column.labels
            if column.names is not None:
                self.classes[name] = column.names
        if faults:
            raise ValueError(f"{labels.path}: {listed(faults)}")

    def __len__(self) -> int:
        return len(self._paths)

    @property
    def files(self) -> list[str]:
        """The image of each sample, as a path inside ``root``."""
        return [os.path.relpath(path, self.root) for path in self._paths]

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the image (C, H, W) in [0, 1] and a tensor for each task: int64 of shape () for a class.

        Raises:
            FileNotFoundError: the image's file no longer exists.
            ValueError: the image cannot be read.
        """
        path = self._paths[index]
        image = resize_image(to_unit_floats(_load_image(path, self._formats, self._channels)), self.image_size)
        return image, {name: self._target(name, task, index) for name, task in self.tasks.items()}

    def _target(self, name: str, task: Task, index: int) -> Tensor:
        if name in self._labels:
            return self._labels[name][index].long()
        label = read_single(load_array(find_map(self.root, name, os.path.relpath(self._paths[index], self.root))), task)
        return (label if self.image_size is None else task.resize_target(label, self.image_size)).squeeze(0)

    def __repr__(self) -> str:
        """Return size and folder, and the classes and missing labels of each task. Few classes are listed with their counts."""
        tasks = ", ".join(f"{name}: {self._described(name)}" for name in self.tasks)
        return f"ImageTable({len(self)} samples, root={str(self.root)!r}, image_size={self.image_size}, tasks={{{tasks}}})"

    def _described(self, name: str) -> str:
        task = self.tasks[name]
        if name not in self._labels:
            return repr(task)
        indices = task.embedding_index(self._labels[name].long())
        counts = indices[indices >= 0].bincount(minlength=task.num_embeddings).tolist()
        names = self.classes.get(name, [])
        # With few classes, a misspelt one is noticed.
        parts = [f"{each} {count}" for each, count in zip(names, counts, strict=False)] if len(names) <= _FEW else []
        missing = int((indices < 0).sum())
        parts += [f"{missing} missing"] if missing else []
        return f"{task.num_embeddings} classes" + (f" ({', '.join(parts)})" if parts else "")


def _check_format(format: ImageFiles | None) -> list[ImageFiles]:
    # Formats of images that Pillow does not open.
    if format is not None and not isinstance(format, ImageFiles):
        raise TypeError(f"format: expected a mtlue.datasets.ImageFiles or None, got {format!r}")
    return [NPY()] if format is None else [format, NPY()]


def _load_image(path: str, formats: Sequence[ImageFiles], channels: int | None) -> Tensor:
    """Read an image file unchanged, or with the given number of channels. Raises what `reading` raises."""
    with reading(path, "an image"):
        for each in formats:
            if path.endswith(f".{each.suffix}"):
                return read_channels(each.decode(Path(path).read_bytes()), channels)
        with Image.open(path) as file:
            return read_channels(upright(file), channels)
