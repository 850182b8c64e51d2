"""UTKFace: faces with age, race and gender."""

from __future__ import annotations

import logging
import os
from bisect import bisect_right
from pathlib import Path

import torch

from mtlue._checks import check_image_size, check_seed
from mtlue._tasks import Classification
from mtlue.datasets._files import check_root, check_split, shortened
from mtlue.datasets._labelled_images import LabelledImages

logger = logging.getLogger("mtlue")

# 0-2, 3-9, 10-19, ..., 60-69, 70 and more (Karkkainen and Joo, 2021): the first age of each bin except the first.
_BINS = (3, 10, 20, 30, 40, 50, 60, 70)
_RACES, _GENDERS = 5, 2
_SUFFIXES = (".jpg", ".jpeg", ".png")


class UTKFace(LabelledImages):
    """The aligned and cropped faces of UTKFace with age, race and gender (Zhang et al., 2017).

    The labels are in the file names, ``[age]_[gender]_[race]_[date].jpg.chip.jpg``. Tasks, in this order: ``age`` (nine bins:
    0-2, 3-9, 10-19, 20-29, 30-39, 40-49, 50-59, 60-69, 70 and more), ``race`` (White, Black, Asian, Indian, Other) and
    ``gender`` (0 male, 1 female).

    Three of the 23,708 file names lack a race. Such files are left out, listed in ``skipped``, and logged by ``mtlue``; 23,705
    remain.

    Args:
        root: Folder with the images, or its parent, in which the folder is called ``UTKFace``.
        split: ``"train"`` (80 % of the images, rounded down) or ``"test"`` (the rest). The paper's split is not published, so
            this one is drawn at random.
        image_size: A side, or height and width, to resize the images to; 140 in the paper. None leaves them at 200 by 200.
        split_seed: Seed of the split. The split depends only on it and on the names of the files.

    Attributes:
        tasks: The three tasks by name.
        split: As given.
        split_seed: As given.
        skipped: Names of files without usable labels, in both splits.
        image_size: Height and width, or None.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range.
        FileNotFoundError: the folder does not exist, or has no image with labels.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> from mtlue import datasets
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for date in range(5):
        ...         Image.new("RGB", (200, 200)).save(f"{root}/35_1_2_{date}.jpg.chip.jpg")
        ...     faces = datasets.UTKFace(root, split="test", image_size=140)
        ...     image, targets = faces[0]
        >>> image.shape, targets
        (torch.Size([3, 140, 140]), {'age': tensor(4), 'race': tensor(2), 'gender': tensor(1)})
    """

    _source = "get the aligned and cropped faces of UTKFace from https://susanqq.github.io/UTKFace/"

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        split: str,
        image_size: int | tuple[int, int] | None = None,
        split_seed: int = 0,
    ) -> None:
        folder = check_root(root, source=self._source)
        split = check_split(split, ("train", "test"))
        size = check_image_size(image_size)
        self.split_seed = check_seed("split_seed", split_seed)
        folder = folder / "UTKFace" if (folder / "UTKFace").is_dir() else folder
        faces = {name: _read_name(name) for name in _image_names(folder)}
        self.skipped = tuple(name for name, labels in faces.items() if labels is None)
        labelled = {name: labels for name, labels in faces.items() if labels is not None}
        if not labelled:
            raise FileNotFoundError(f"{folder}: found no image named [age]_[gender]_[race]_[date].jpg.chip.jpg; {self._source}")
        if self.skipped:
            logger.warning(
                "UTKFace: %d of %d files skipped, whose names have no age, gender and race: %s",
                len(self.skipped),
                len(faces),
                shortened(self.skipped),
            )
        names = _part(list(labelled), split, self.split_seed)
        super().__init__(
            [str(folder / name) for name in names],
            torch.tensor([labelled[name] for name in names]).reshape(-1, 3),
            tasks={
                "age": Classification(len(_BINS) + 1),
                "race": Classification(_RACES),
                "gender": Classification(_GENDERS),
            },
            split=split,
            image_size=size,
        )

    def _details(self) -> str:
        """Return the seed, and the number of files left out."""
        return f"split_seed={self.split_seed}, {len(self.skipped)} files skipped, "


def _image_names(folder: Path) -> list[str]:
    """List the names of the images in an order independent of the file system, without the hidden files that archives leave."""
    names = (path.name for path in folder.iterdir())
    return sorted(name for name in names if name.lower().endswith(_SUFFIXES) and not name.startswith("."))


def _read_name(name: str) -> tuple[int, int, int] | None:
    """Read age bin, race and gender from a file name. Return None if it lacks one of them."""
    # What follows the third field varies and is not used. If the race is left out, the date stands in its place.
    fields = [field.strip() for field in name.split("_")[:3]]
    if len(fields) < 3 or not all(field.isascii() and field.isdigit() for field in fields):
        return None
    age, gender, race = map(int, fields)
    if gender >= _GENDERS or race >= _RACES:
        return None
    return bisect_right(_BINS, age), race, gender


def _part(names: list[str], split: str, seed: int) -> list[str]:
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(seed)).tolist()
    border = len(names) * 4 // 5
    chosen = order[:border] if split == "train" else order[border:]
    return [names[index] for index in sorted(chosen)]
