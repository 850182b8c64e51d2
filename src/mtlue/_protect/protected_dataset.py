"""A data set whose images are protected."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic

from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import TypeVar

from mtlue._data import check_map_style, to_unit_floats
from mtlue._fit import History
from mtlue._generator import UEGenerator
from mtlue._protect.export import export_folder
from mtlue._protect.identity import check_same_data
from mtlue._protect.storage import Images, StoredImages
from mtlue._tasks import Task, tasks_from_config

Image = TypeVar("Image", default=Tensor)
Other = TypeVar("Other")


class ProtectedDataset(Dataset[tuple[Image, Any]], Generic[Image]):
    """What `mtlue.protect` returns: protected images with the targets of the user's own data set.

    ``protected[i]`` is a pair: the image as a float tensor (C, H, W) in [0, 1], and the target exactly as the user's data set
    gives it. Targets are read from that data set when asked for; no clean image is kept.

    Attributes:
        tasks: The tasks by name.
        epsilon: The budget on the scale of [0, 1].
        generator: What made the perturbations, and could undo them; None for a set that was loaded.
        history: Its training; None if it was not trained in this call.
    """

    def __init__(
        self,
        images: Images,
        dataset: Dataset[Any],
        *,
        tasks: Mapping[str, Task],
        epsilon: float,
        generator: UEGenerator | None = None,
        history: History | None = None,
    ) -> None:
        self._images, self._dataset = images, dataset
        self._transform: Callable[[Tensor], Any] | None = None
        self.tasks = dict(tasks)
        self.epsilon = epsilon
        self.generator = generator
        self.history = history

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Image, Any]:
        """Protected image and target of one sample; negative indices count from the end.

        Raises:
            IndexError: there is no such sample.
        """
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"index {index} is out of range for {len(self)} samples")
        image: Any = to_unit_floats(self._images[position])
        if self._transform is not None:
            image = self._transform(image)
        return image, self._dataset[position][1]

    def __iter__(self) -> Iterator[tuple[Image, Any]]:
        """The samples in order."""
        return (self[index] for index in range(len(self)))

    def with_transform(self, fn: Callable[[Tensor], Other] | None) -> ProtectedDataset[Other]:
        """The same set with a function on each image, such as a victim's augmentation; None takes it away.

        The perturbation is already in the image: this is the place for random augmentation.
        """
        other: ProtectedDataset[Any] = copy.copy(self)
        other._transform = fn
        return other

    def export(self, folder: str | os.PathLike[str], *, format: str = "png") -> None:
        """Write each image to a file, and the labels beside them.

        ``folder`` gets ``images/000000.png`` and so on, ``labels.csv`` with one row an image and one column a
        classification task, and for each task with label maps a folder ``labels/<task>/`` of NumPy files. Nothing else is
        in it: no clean image, no perturbation. A transform is not applied.

        Args:
            folder: A folder that does not exist yet, or is empty.
            format: ``"png"`` for images of 1 or 3 channels, ``"npy"`` for any. Both are lossless; a lossy one would not keep
                the perturbation.

        Raises:
            ValueError: the format is unknown, or cannot hold images with that many channels.
            FileExistsError: the folder has something in it.
        """
        export_folder(self._images, self._dataset, self.tasks, Path(folder), format=format)

    @classmethod
    def load(cls, path: str | os.PathLike[str], dataset: Dataset[Any]) -> ProtectedDataset[Tensor]:
        """Open the folder that ``protect(path=...)`` wrote, without reading the images into memory.

        Args:
            path: The folder.
            dataset: The data set that was protected; it gives the targets.

        Raises:
            FileNotFoundError: there is no finished store.
            ValueError: the store is truncated, was changed, or was made from another data set.
        """
        images = StoredImages(Path(path))
        tasks = tasks_from_config(images.manifest["tasks"])
        check_map_style(dataset)
        check_same_data(images, dataset, tasks)
        return ProtectedDataset[Tensor](images, dataset, tasks=tasks, epsilon=images.manifest["epsilon"])

    def __repr__(self) -> str:
        """Size, tasks and budget."""
        return f"ProtectedDataset({len(self)} samples, tasks={self.tasks}, epsilon={self.epsilon:.4g})"
