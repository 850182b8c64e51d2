"""A protected data set."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sized
from pathlib import Path
from typing import Any, Generic, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import TypeVar

from mtlue._check import Check
from mtlue._data import check_map_style, image_bytes, labels_digest, looked_at, to_unit_floats
from mtlue._fit import History
from mtlue._formats import ExportFormat, ExportSamples, Images, StoredImages, export
from mtlue._generator import UEGenerator, largest_level
from mtlue._tasks import Task, tasks_from_config

Image = TypeVar("Image", default=Tensor)
Other = TypeVar("Other")


class ProtectedDataset(Dataset[tuple[Image, Any]], Generic[Image]):
    """What `mtlue.protect` returns: protected images with the targets of your own data set.

    ``protected[i]`` is a pair: the image as a float tensor (C, H, W) in [0, 1], and the target exactly as your data set gives
    it. Targets are read from that data set on access. No clean image is kept.

    Attributes:
        dataset: Your data set, which provides the targets.
        tasks: The tasks by name.
        epsilon: The budget on the scale of [0, 1].
        protected_tasks: Names of the tasks that were made unlearnable. None if unknown, as for a loaded set.
        fraction: Share of the samples that were perturbed. None if unknown.
        generator: The generator that made the perturbations and can undo them. None for a loaded set.
        history: The training of the generator. None if this call did not train it.
        check: What a small network still learns. None if this call did not check it.
        is_protected: Always True: these images must not be protected again.

    Example:
        >>> import pathlib, tempfile
        >>> import torch, mtlue
        >>> labels = [{"smiling": i % 2, "young": i // 2 % 2} for i in range(16)]
        >>> dataset = [(torch.rand(3, 8, 8), label) for label in labels]
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
        >>> settings = {"surrogate": net, "loss": mtlue.EM(), "epochs": 1, "progress": False}
        >>> with tempfile.TemporaryDirectory() as name:
        ...     folder = pathlib.Path(name)
        ...     safe = mtlue.protect(dataset, path=folder / "store", **settings)
        ...     safe.generator.save(folder / "key.pt")  # what can undo the protection
        ...     again = mtlue.ProtectedDataset.load(folder / "store", dataset)
        ...     again.export(folder / "to-publish")
        ...     print((folder / "to-publish" / "labels.csv").read_text().splitlines()[:2])
        ...     mirrored = again.with_transform(lambda image: image.flip(-1))
        ...     loader = torch.utils.data.DataLoader(mirrored, batch_size=8)
        ...     images, targets = next(iter(loader))
        ['file,smiling,young', 'images/000000.png,0,0']
        >>> images.shape, targets["young"]
        (torch.Size([8, 3, 8, 8]), tensor([0, 0, 1, 1, 0, 0, 1, 1]))
    """

    is_protected = True

    def __init__(
        self,
        images: Images,
        dataset: Dataset[Any],
        *,
        tasks: Mapping[str, Task],
        epsilon: float,
        protected_tasks: Collection[str] | None = None,
        fraction: float | None = None,
        generator: UEGenerator | None = None,
        history: History | None = None,
        check: Check | None = None,
    ) -> None:
        self._images, self.dataset = images, dataset
        self._transform: Callable[[Tensor], Any] | None = None
        self.tasks = dict(tasks)
        self.epsilon = epsilon
        self.protected_tasks = None if protected_tasks is None else list(protected_tasks)
        self.fraction = fraction
        self.generator = generator
        self.history = history
        self.check = check

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Image, Any]:
        """Return the protected image and the target of a sample. Negative indices count from the end.

        Raises:
            IndexError: the index is out of range.
        """
        position = self._position(index)
        image: Any = to_unit_floats(self._images[position])
        if self._transform is not None:
            image = self._transform(image)
        return image, self.dataset[position][1]

    def __iter__(self) -> Iterator[tuple[Image, Any]]:
        """Iterate over the samples in order."""
        return (self[index] for index in range(len(self)))

    def stored_image(self, index: int) -> Tensor:
        """Return the stored image of a sample: uint8, (C, H, W), without a transform.

        Raises:
            IndexError: the index is out of range.
        """
        # A copy: changing it does not change the set.
        return self._images[self._position(index)].clone()

    def _position(self, index: int) -> int:
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} samples")
        return position

    def with_transform(self, fn: Callable[[Tensor], Other] | None) -> ProtectedDataset[Other]:
        """Return the same set with a function applied to each image, such as a victim's augmentation. None removes it.

        The images already contain their perturbation, so this is the place for random augmentation.
        """
        other: ProtectedDataset[Any] = copy.copy(self)
        other._transform = fn
        return other

    def export(
        self,
        folder: str | os.PathLike[str],
        *,
        format: str | ExportFormat = "png",
        append: bool = False,
        names: str | os.PathLike[str] | None = None,
    ) -> None:
        """Write the images and their labels to a folder that can be published.

        As PNG, ``folder`` gets ``images/000000.png`` and so on (from 10,000 on ``images/001/010000.png``), ``labels.csv`` with
        one row an image and one column a classification task, and for each task with label maps a folder ``labels/<task>/`` of
        NumPy files. A class is a number, and -1 a missing label. If your data set, or the one that it wraps, has an attribute
        ``classes`` (a dict by task, or a list if there is one task), ``classes.json`` has the names of the classes in the order
        of the numbers; `mtlue.datasets.ImageTable` reads it. ``README.md`` says that the set is protected, and with which
        version and budget. You may rewrite it. ``mtlue.json`` has the hash of each other file, for `mtlue.verify`. The folder
        holds nothing else. In particular it has no clean image, no perturbation and no original name of a file. A transform is
        not applied.

        The folder gets its name when it is complete; until then its files are in ``<folder>.partial``. Repeat an interrupted
        call to resume it. It writes the same bytes.

        Args:
            folder: A folder that does not exist yet, or is empty.
            format: ``"png"`` for images of 1 or 3 channels, ``"npy"`` for any; ``"webdataset"`` and ``"parquet"`` for shards;
                or an object: `mtlue.datasets.PNG`, `mtlue.datasets.TarShards` and `mtlue.datasets.ParquetShards` with their
                settings, `mtlue.datasets.ImageFiles` for other files of images, `mtlue.datasets.ExportFormat` for another
                layout. All are lossless; a lossy one would not keep the perturbation.
            append: Add the samples to an existing export with the same tasks, format and epsilon, for example new images that
                the same generator protected. File numbers go on.
            names: File for a private table of names, outside the folder: a CSV file that only you can read, with the new name
                of each file, its original name and its position in your data set. With ``append=True`` its lines go on too.
                The original names are those of `mtlue.datasets.ImageTable`, of torchvision's folders, or of your data set's
                attribute ``files``, a list of names; others are left empty.

        Raises:
            TypeError: the format is a class instead of an object of it.
            ValueError: the format is unknown, or cannot hold the images or the names of the tasks; or the samples do not match
                the existing ones; or ``names`` would be published with the folder.
            FileExistsError: the folder has something else in it, or ``names`` is another file.
            FileNotFoundError: there is no export to append to.
            BlockingIOError: another call is writing to the folder.
        """
        samples = ExportSamples(self._images, self.dataset, self.tasks)
        learnable = set() if self.protected_tasks is None else self.tasks.keys() - set(self.protected_tasks)
        export(
            samples,
            Path(folder),
            format=format,
            epsilon=self.epsilon,
            append=append,
            learnable=learnable,
            names=None if names is None else Path(names),
        )

    @classmethod
    def load(cls, path: str | os.PathLike[str], dataset: Dataset[Any]) -> ProtectedDataset[Tensor]:
        """Open the folder that ``protect(path=...)`` wrote, without reading the images into memory.

        The files of images are checked when the first image in each is read; `mtlue.verify` checks all of them at once.

        Args:
            path: The folder.
            dataset: The data set that was protected, which provides the targets.

        Raises:
            FileNotFoundError: the folder has no finished store.
            ValueError: the manifest was changed, a file that was looked at is truncated, or the store was made from another
                data set.
        """
        images = StoredImages(Path(path))
        try:
            epsilon, labels = images.fields.share("epsilon"), images.fields.text("labels")
            tasks = tasks_from_config(images.fields.items("tasks"))
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"path: the store {images.folder} cannot be used: {error}") from None
        check_map_style("dataset", dataset)
        _check_same_data(images, dataset, tasks, epsilon, labels)
        return ProtectedDataset[Tensor](images, dataset, tasks=tasks, epsilon=epsilon)

    def __repr__(self) -> str:
        """Return size, tasks and budget, and what is unprotected."""
        parts = [f"{len(self)} samples", f"tasks={self.tasks}", f"epsilon={255 * self.epsilon:.4g}/255"]
        if self.protected_tasks is not None and set(self.protected_tasks) != set(self.tasks):
            parts.append(f"protected_tasks={self.protected_tasks}")
        if self.fraction is not None and self.fraction != 1.0:
            parts.append(f"fraction={self.fraction:.4g}")
        return f"ProtectedDataset({', '.join(parts)})"


def _check_same_data(
    images: StoredImages, dataset: Dataset[Any], tasks: Mapping[str, Task], epsilon: float, labels: str
) -> None:
    """Check that a store was made from this data set: images are within epsilon of clean ones, and labels are equal.

    Raises:
        TypeError: an image or a label of the data set cannot be read.
        ValueError: the store was made from another data set, or a sample cannot be read.
    """
    length = len(cast("Sized", dataset))
    if len(images) != length:
        raise ValueError(f"dataset: the store was made from another data set, of {len(images)} samples; this one has {length}")
    limit = largest_level(epsilon)
    for index in looked_at(length):
        clean, stored = image_bytes(dataset, index), images.unchecked(index)
        same_shape = clean.shape == stored.shape
        if not same_shape or (clean.to(torch.int16) - stored.to(torch.int16)).abs().max() > limit:
            # If the store was changed, reading the image says so.
            images[index]
            raise ValueError(f"dataset: the store was made from another data set, image {index} is not the same")
    if labels_digest(dataset, tasks) != labels:
        raise ValueError("dataset: the store was made from another data set, the labels are not the same")
