"""The base class of file formats, and the samples that a format writes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtlue._formats.class_names import class_names
from mtlue._formats.images import Images
from mtlue._tasks import Task, read_single, split_by_task


@dataclass(frozen=True, eq=False)
class ExportSamples:
    """The samples of a protected set in order, as an `ExportFormat` writes them.

    Iterating gives triples: the index of the sample, its image as uint8 (C, H, W), and its targets, a tensor by task. A label
    of the whole image has shape (), and is -1 if it is missing; a label map has the form in which its task reads it. Only the
    current sample is in memory.

    Attributes:
        images: Images by index, uint8 (C, H, W).
        dataset: Pairs (image, targets), which give the targets.
        tasks: Tasks by name.
        selected: Positions of the samples to write now; None for all.
        first: Added to a position to give its index, when a set is appended to another one.
        part: Number of this part, counted from the first part that was ever written to the folder.

    Example:
        >>> import torch, mtlue
        >>> from mtlue import datasets
        >>> images = torch.zeros(2, 3, 8, 8, dtype=torch.uint8)
        >>> samples = datasets.ExportSamples(images, [(None, 1), (None, -1)], {"gender": mtlue.Classification(2)})
        >>> samples.channels
        3
        >>> for index, image, targets in samples:
        ...     print(index, image.shape, targets)
        0 torch.Size([3, 8, 8]) {'gender': tensor(1)}
        1 torch.Size([3, 8, 8]) {'gender': tensor(-1)}
    """

    images: Images
    dataset: Dataset[Any]
    tasks: Mapping[str, Task]
    selected: range | None = None
    first: int = 0
    part: int = 0

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return int(self.images[0].shape[0])

    @property
    def classes(self) -> dict[str, list[str]]:
        """Names of the classes by task, in order, if the data set has them in its attribute ``classes``."""
        return class_names(self.dataset, self.tasks)

    @property
    def _positions(self) -> range:
        return range(len(self.images)) if self.selected is None else self.selected

    def __len__(self) -> int:
        return len(self._positions)

    def __iter__(self) -> Iterator[tuple[int, Tensor, dict[str, Tensor]]]:
        """Yield index, image and targets of each sample."""
        for position in self._positions:
            labels = split_by_task(self.dataset[position][1], self.tasks, what="targets")
            targets = {name: _target(label, self.tasks[name]) for name, label in labels.items()}
            # A copy of the image: a format that changes it does not change the set.
            yield self.first + position, self.images[position].clone(), targets

    def __repr__(self) -> str:
        """Return size and tasks."""
        return f"ExportSamples({len(self)} samples, tasks={dict(self.tasks)})"


def _target(label: object, task: Task) -> Tensor:
    target = read_single(label, task)
    if not task.is_map and bool(task.missing(target)):
        # Readers of an export do not know the ignore index.
        target = torch.full_like(target, -1)
    return target.squeeze(0)


class ExportFormat(ABC):
    """A file format for `mtlue.ProtectedDataset.export`, which writes samples to a folder and reads them back.

    Derive from this class for a layout of your own, such as shards, or from `mtlue.datasets.ImageFiles` if each image is one
    file.

    Attributes:
        part_size: Samples in a part. An interrupted export goes on after its last part. None writes everything as one part, so
            that an interrupted export starts again.
        description: What the files of a folder are, in Markdown, for its README.md.
        front_matter: Lines of YAML at the top of that README.md, such as a Hugging Face data set has; may be empty.

    Example:
        >>> import pathlib, tempfile
        >>> import torch
        >>> from mtlue import baselines, datasets
        >>> class OneFile(datasets.ExportFormat):
        ...     def write(self, folder, samples):
        ...         torch.save([(image, targets) for _, image, targets in samples], folder / "samples.pt")
        ...     def read(self, folder):
        ...         yield from torch.load(folder / "samples.pt", weights_only=True)
        >>> protected = baselines.random_noise([(torch.rand(3, 8, 8), label) for label in (0, 1, 1)], tasks={"gender": 2})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     protected.export(folder, format=OneFile())
        ...     samples = list(OneFile().read(pathlib.Path(folder)))
        >>> samples[2][1], bool((samples[2][0] == protected.stored_image(2)).all())
        ({'gender': tensor(1)}, True)
    """

    part_size: int | None = None
    description: ClassVar[str] = ""
    front_matter: ClassVar[str] = ""

    def check(self, samples: ExportSamples) -> None:  # noqa: B027  # some hold everything
        """Refuse samples that the format cannot hold, before anything is written. By default nothing is refused.

        Raises:
            ValueError: the message says which samples, and what to do.
        """

    @abstractmethod
    def write(self, folder: Path, samples: ExportSamples) -> None:
        """Write the samples of a part, in order, to an empty folder.

        All parts are joined into one folder afterwards. So name files and shards by the index that comes with each sample, or
        by the number of the part, not by your own count.
        """

    def file_name(self, index: int) -> str:
        """What the sample of an index is called in the files: its number, unless a format overrides this."""
        return f"{index:06d}"

    def join(self, name: str, files: Sequence[Path]) -> bytes:
        """Join the contents of a file that several parts wrote with different contents.

        Args:
            name: The file's path inside the folder.
            files: The files that the parts wrote, in the order of the parts.

        Raises:
            ValueError: parts share a file, which is an error unless a format overrides this.
        """
        raise ValueError(
            f"format: {type(self).__name__} wrote {name} for {len(files)} parts; name files by the index of a sample"
        )

    @abstractmethod
    def read(self, folder: Path) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Yield the samples of such a folder in order: image, uint8 (C, H, W), and targets as they were written."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"
