"""The sets that recipes are measured on, as tensors."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from multi_fashion import SUBSET, MultiFashion
from paper.readers import CELEBA
from sets.avatars import Avatars
from sets.drawings import TASKS as DRAWING_TASKS
from sets.drawings import draw

#: The eight attributes of CelebA on which protection is hardest, or which concern most people.
HARD = ("Male", "Young", "Smiling", "Pale_Skin", "Black_Hair", "Blurry", "Wearing_Hat", "Bangs")


@dataclass(frozen=True)
class Images:
    """Images with their labels.

    Attributes:
        pixels: (N, C, H, W), uint8.
        labels: (N,) by task.
    """

    pixels: Tensor
    labels: dict[str, Tensor]

    def with_pixels(self, pixels: Tensor) -> Images:
        """Other images with the same labels."""
        return Images(pixels, self.labels)

    def first(self, count: int) -> Images:
        """The first ones."""
        return Images(self.pixels[:count], {name: label[:count] for name, label in self.labels.items()})

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pixels)


@dataclass(frozen=True)
class Data:
    """A set: images to protect, and clean ones to test on.

    Attributes:
        name: Of the set.
        tasks: Number of classes by task.
        train: What is protected, and what victims learn from.
        test: Others, always clean.
        flips: Whether a mirrored image keeps all its labels.
    """

    name: str
    tasks: dict[str, int]
    train: Images
    test: Images
    flips: bool


def read_set(name: str, *, size: int, count: int, test_count: int, root: Path | None = None) -> Data:
    """A set by name.

    Args:
        name: One of `SETS` or `ALONE`.
        size: Height and width in pixels.
        count: Images to protect.
        test_count: Images to test on.
        root: Folder with ``utkface`` and ``celeba``, each with ``labels.csv`` and the images, and with ``avatars``, which
            ``make_avatars.py`` makes; the other sets need none.

    Raises:
        ValueError: there is no such set, or it needs a folder and has none.
    """
    every = SETS | ALONE
    if name not in every:
        raise ValueError(f"sets: expected some of {sorted(every)}, got {name!r}")
    return every[name](size, count, test_count, root)


def _drawings(size: int, count: int, test_count: int, root: Path | None) -> Data:
    train, test = draw(count, size=size, seed=0), draw(test_count, size=size, seed=1)
    return Data("drawings", DRAWING_TASKS, Images(*train), Images(*test), flips=True)


def _multi_fashion(size: int, count: int, test_count: int, root: Path | None) -> Data:
    folder = root / "fashion-mnist" if root is not None and (root / "fashion-mnist").is_dir() else SUBSET
    train, test = MultiFashion(count, train=True, root=folder), MultiFashion(test_count, train=False, root=folder)
    parts = Images(train.images, train.targets), Images(test.images, test.targets)
    # Mirrored, the left garment would be the right one.
    return Data("multi-fashion", MultiFashion.tasks, *parts, flips=False)


def _avatars(size: int, count: int, test_count: int, root: Path | None) -> Data:
    if root is None:
        raise ValueError("--root: avatars are read from a folder of that name, which sets/make_avatars.py makes")
    parts = []
    for train, number in ((True, count), (False, test_count)):
        read = Avatars(root / "avatars", train=train, size=number)
        if read.images.shape[-1] != size:
            raise ValueError(
                f"--root: {root / 'avatars'} has images of {read.images.shape[-1]} pixels; make them with --size {size}"
            )
        parts.append(Images(read.images, dict(zip(Avatars.tasks, read.labels.long().unbind(dim=1), strict=True))))
    return Data("avatars", Avatars.tasks, parts[0], parts[1], flips=True)


def _faces(
    folder: str, tasks: dict[str, int], prepare: Callable[[Image.Image, int], Image.Image]
) -> Callable[[int, int, int, Path | None], Data]:
    def read(size: int, count: int, test_count: int, root: Path | None) -> Data:
        if root is None:
            raise ValueError(f"--root: {folder} is read from a folder of that name")
        with (root / folder / "labels.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        # Not by name: UTKFace's begin with the age.
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()[: test_count + count]
        chosen = [rows[index] for index in order]
        pixels = torch.stack([_pixels(root / folder / row["file"], size, prepare) for row in chosen])
        labels = {name: torch.tensor([int(row[name]) for row in chosen]) for name in tasks}
        test = Images(pixels[:test_count], {name: label[:test_count] for name, label in labels.items()})
        train = Images(pixels[test_count:], {name: label[test_count:] for name, label in labels.items()})
        return Data(folder, tasks, train, test, flips=True)

    return read


def _pixels(path: Path, size: int, prepare: Callable[[Image.Image, int], Image.Image]) -> Tensor:
    with Image.open(path) as image:
        pixels: Tensor = pil_to_tensor(prepare(image.convert("RGB"), size))
    return pixels


def _whole(image: Image.Image, size: int) -> Image.Image:
    return image.resize((size, size), Image.Resampling.BOX, reducing_gap=2.0)


def _centre(image: Image.Image, size: int) -> Image.Image:
    # The middle of an aligned face, as the paper crops it: 140 of the 178 pixels across.
    side = round(image.width * 140 / 178)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return _whole(image.crop((left, top, left + side, top + side)), size)


#: Number of classes by task, of each set.
TASKS: dict[str, dict[str, int]] = {
    "utkface": {"age": 9, "race": 5, "gender": 2},
    "celeba-8": dict.fromkeys(HARD, 2),
    "celeba-40": dict.fromkeys(CELEBA, 2),
    "multi-fashion": MultiFashion.tasks,
    "drawings": DRAWING_TASKS,
    "avatars": Avatars.tasks,
}

SETS: dict[str, Callable[[int, int, int, Path | None], Data]] = {
    "utkface": _faces("utkface", TASKS["utkface"], _whole),
    "celeba-8": _faces("celeba", TASKS["celeba-8"], _centre),
    "celeba-40": _faces("celeba", TASKS["celeba-40"], _centre),
    "multi-fashion": _multi_fashion,
    "drawings": _drawings,
    "avatars": _avatars,
}


def _alone(name: str, task: str) -> Callable[[int, int, int, Path | None], Data]:
    def read(size: int, count: int, test_count: int, root: Path | None) -> Data:
        whole = SETS[name](size, count, test_count, root)
        train, test = (Images(part.pixels, {task: part.labels[task]}) for part in (whole.train, whole.test))
        return Data(f"{name}: {task}", {task: TASKS[name][task]}, train, test, whole.flips)

    return read


#: The same images with one label, the others unprotected: those that keep the most among many, and one that keeps little.
ALONE = {
    f"{name}: {task}": _alone(name, task)
    for name, tasks in {
        "celeba-40": ("Bangs", "Wearing_Hat", "Pale_Skin", "Male"),
        "drawings": tuple(DRAWING_TASKS),
        "avatars": ("hat", "long_hair", "blazer"),
    }.items()
    for task in tasks
}
TASKS |= {name: {task: TASKS[whole][task]} for name in ALONE for whole, task in [name.split(": ")]}
