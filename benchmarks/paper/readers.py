"""Which images the tables are made of."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import cast

from mtlue import Classification, datasets
from paper.images import InMemory, Splits, gather, with_contrast
from paper.scales import SetScale
from paper.specs import Data
from sets.avatars import ATTRIBUTES, Avatars

#: Sets whose labels are maps; both lie in the folders of NYUv2.
DENSE = frozenset({"rooms", "nyuv2"})
# Rendered with one ray a pixel, rooms of 64 pixels get smooth edges, as a camera's are, where they are brought to 48.
_SIZES = {"rooms": 48}


@lru_cache(maxsize=4)
def _splits(name: str, sizes: SetScale, folder: Path | None) -> Splits:
    if name == "multi-fashion":
        from multi_fashion import MultiFashion

        composed = (
            MultiFashion(sizes.train, train=True, contrast=sizes.contrast, photographs=range(8000)),
            MultiFashion(sizes.test, train=False, seed=1, contrast=sizes.contrast),
            MultiFashion(2000, train=True, seed=2, contrast=sizes.contrast, photographs=range(8000, 10000)),
        )
        train, test, pretrain = (gather(part, part.tasks, count=0) for part in composed)
        return Splits(train, test, pretrain)
    if name == "avatars":
        root = _given(name, folder)
        drawn = (
            Avatars(root, train=True, size=sizes.train),
            Avatars(root, train=False, size=sizes.test),
            Avatars(root / "pretrain", train=True),
        )
        train, test, pretrain = (
            InMemory(
                with_contrast(part.images, sizes.contrast), dict(zip(part.tasks, part.labels.long().T, strict=True)), part.tasks
            )
            for part in drawn
        )
        return Splits(train, test, pretrain)
    if name in DENSE:
        root = _given(name, folder)
        rooms = [datasets.NYUv2(root, split=split, image_size=_SIZES.get(name)) for split in ("train", "test")]
        halves = [gather(part, part.tasks, count=count) for part, count in zip(rooms, (sizes.train, sizes.test), strict=True)]
        return Splits(halves[0], halves[1], None)
    readers = {"celeba": datasets.CelebA, "utkface": datasets.UTKFace}
    train, test = (
        readers[name](_given(name, folder), split=split, image_size=70 if name == "celeba" else 140)
        for split in ("train", "test")
    )
    tasks = {task: cast("Classification", kind).num_classes for task, kind in train.tasks.items()}
    halves = [gather(part, tasks, count=count) for part, count in ((train, sizes.train), (test, sizes.test))]
    return Splits(halves[0], halves[1], None)


def _given(name: str, folder: Path | None) -> Path:
    if folder is None:
        raise SystemExit(f"--{name} FOLDER is needed for the set {name}")
    return folder


def splits(data: Data, sizes: SetScale, folder: Path | None) -> Splits:
    """The parts of a set, with some of its tasks or all."""
    whole = _splits(data.name, sizes, folder)
    pretrain = None if whole.pretrain is None else whole.pretrain.only(data.tasks)
    return Splits(whole.train.only(data.tasks), whole.test.only(data.tasks), pretrain)


def classes_of(name: str, task: str) -> int:
    """Number of classes of a task of a set, known without its images."""
    several = {"multi-fashion": {"left": 10, "right": 10}, "utkface": {"age": 9, "race": 5}}
    return several.get(name, {}).get(task, 2)


#: Attributes of CelebA, in the order of its file.
CELEBA = (
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs", "Big_Lips", "Big_Nose",
    "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows", "Chubby", "Double_Chin", "Eyeglasses", "Goatee",
    "Gray_Hair", "Heavy_Makeup", "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard",
    "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns", "Smiling", "Straight_Hair",
    "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick", "Wearing_Necklace", "Wearing_Necktie", "Young",
)  # fmt: skip


def order_of_tasks(name: str, first: Sequence[str]) -> tuple[str, ...]:
    """All tasks of a set with many binary attributes, some of them first."""
    names = ATTRIBUTES if name == "avatars" else CELEBA
    return (*first, *(task for task in names if task not in first))
