"""NYUv2: rooms with segmentation, depth and surface normals."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtlue._checks import check_image_size
from mtlue._runtime import require
from mtlue._tasks import Depth, Segmentation, SurfaceNormals, Task
from mtlue.datasets._files import check_exist, check_root, check_split
from mtlue.datasets._images import reading, resize_image

_SOURCE = (
    "get NYUv2 as pre-processed for MTAN from https://github.com/lorenmt/mtan, "
    "with folders train and val that hold image, label, depth and normal"
)
_FOLDERS = {"train": "train", "test": "val"}
_CHANNELS = {"image": 3, "label": None, "depth": 1, "normal": 3}
_KINDS = {"segmentation": "label", "depth": "depth", "normals": "normal"}


class NYUv2(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """The indoor scenes of NYUv2 with three dense tasks (Silberman et al., 2012), as pre-processed by Liu et al. (2019).

    The folder has to look like this. Each innermost folder has a file for each sample, numbered from 0::

        root/train/image/0.npy ... root/train/label/ root/train/depth/ root/train/normal/
        root/val/image/0.npy   ... root/val/label/   root/val/depth/   root/val/normal/

    Tasks: ``segmentation`` (int64 (H, W), 13 classes, -1 for unlabelled pixels), ``depth`` (float (1, H, W), 0 for pixels
        without a reading) and ``normals`` (float (3, H, W), unit vectors, or zero for pixels without a reading). Needs NumPy,
        which ``mtlue[datasets]`` brings.

    Args:
        root: Folder that contains ``train`` and ``val``.
        split: ``"train"`` (795 samples) or ``"test"`` (the 654 samples in the folder ``val``).
        image_size: A side, or height and width, to resize images and label maps to. Maps are resized by nearest neighbour. None
            leaves them at 288 by 384, the paper's size.

    Attributes:
        tasks: The three tasks by name.
        split: As given.
        image_size: Height and width, or None.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range.
        FileNotFoundError: a folder or a file is missing.
        ImportError: NumPy is not installed.

    Example:
        >>> import pathlib, tempfile
        >>> import numpy
        >>> from mtlue import datasets
        >>> with tempfile.TemporaryDirectory() as root:
        ...     shapes = {"image": (288, 384, 3), "label": (288, 384), "depth": (288, 384, 1), "normal": (288, 384, 3)}
        ...     for name, shape in shapes.items():
        ...         folder = pathlib.Path(root, "train", name)
        ...         folder.mkdir(parents=True)
        ...         numpy.save(folder / "0.npy", numpy.zeros(shape))
        ...     image, targets = datasets.NYUv2(root, split="train")[0]
        >>> image.shape, {name: tuple(target.shape) for name, target in targets.items()}
        (torch.Size([3, 288, 384]), {'segmentation': (288, 384), 'depth': (1, 288, 384), 'normals': (3, 288, 384)})
    """

    def __init__(self, root: str | os.PathLike[str], *, split: str, image_size: int | tuple[int, int] | None = None) -> None:
        folder = check_root(root, source=_SOURCE)
        self.split = check_split(split, tuple(_FOLDERS))
        self.image_size = check_image_size(image_size)
        self.tasks: dict[str, Task] = {"segmentation": Segmentation(13), "depth": Depth(), "normals": SurfaceNormals()}
        require("numpy", extra="datasets")
        self._folder = folder / _FOLDERS[self.split]
        self._numbers = _sample_numbers(self._folder)

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the image (3, H, W) in [0, 1], and a map for each task.

        Raises:
            FileNotFoundError: a file no longer exists.
            ValueError: a file cannot be read, or holds something else.
        """
        number = self._numbers[index]
        paths = {kind: self._folder / kind / f"{number}.npy" for kind in _CHANNELS}
        image = _load(paths["image"], channels=3).float()
        # Written this way, the comparison refuses NaN too.
        if not (image.min() >= 0.0 and image.max() <= 1.0):
            raise ValueError(f"{paths['image']}: expected values in [0, 1]; {_SOURCE}")
        targets = {name: self._read(name, paths[kind], image) for name, kind in _KINDS.items()}
        if self.image_size is not None:
            for name, task in self.tasks.items():
                targets[name] = task.resize_target(targets[name].unsqueeze(0), self.image_size).squeeze(0)
        return resize_image(image, self.image_size), targets

    def _read(self, name: str, path: Path, image: Tensor) -> Tensor:
        values = _load(path, channels=_CHANNELS[_KINDS[name]])
        if values.shape[-2:] != image.shape[-2:]:
            raise ValueError(f"{path}: {tuple(values.shape[-2:])} pixels, the image has {tuple(image.shape[-2:])}; {_SOURCE}")
        try:
            return self.tasks[name].read_target(values)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}; {_SOURCE}") from None

    def __repr__(self) -> str:
        """Return size, split and tasks."""
        return f"NYUv2({len(self)} samples, split={self.split!r}, image_size={self.image_size}, {len(self.tasks)} tasks)"


def _sample_numbers(folder: Path) -> list[int]:
    # Numbers of all samples that have any file, in order.
    check_exist([folder / kind for kind in _CHANNELS], source=_SOURCE)
    found = {kind: {int(path.stem) for path in (folder / kind).glob("*.npy") if path.stem.isdecimal()} for kind in _CHANNELS}
    numbers = sorted(set.union(*found.values()))
    if not numbers:
        raise FileNotFoundError(f"{folder / 'image'}: no file named 0.npy, 1.npy, ...; {_SOURCE}")
    check_exist(
        [folder / kind / f"{number}.npy" for kind in _CHANNELS for number in numbers if number not in found[kind]],
        source=_SOURCE,
    )
    return numbers


def _load(path: Path, *, channels: int | None) -> Tensor:
    # An array (H, W, channels) as a tensor (channels, H, W). An array (H, W) keeps its axes.
    numpy: Any = require("numpy", extra="datasets")
    # Opened here, because NumPy leaves a file open that only looks like an archive.
    with reading(path, "an array of numbers", source=_SOURCE), path.open("rb") as file:
        values = torch.as_tensor(numpy.load(file))
    expected = "(H, W)" if channels is None else f"(H, W, {channels})"
    fits = values.ndim == 2 if channels is None else values.ndim == 3 and values.shape[-1] == channels
    if not fits or 0 in values.shape:
        raise ValueError(f"{path}: expected an array of shape {expected}, got {tuple(values.shape)}; {_SOURCE}")
    return values if channels is None else values.permute(2, 0, 1).contiguous()
