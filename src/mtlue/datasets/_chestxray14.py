"""ChestX-ray14: radiographs with fourteen findings."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from mtlue._checks import check_image_size
from mtlue._tasks import Classification
from mtlue.datasets._files import check_root, check_split, read_lines, shortened
from mtlue.datasets._labelled_images import LabelledImages

_FINDINGS = (
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
)
_HEALTHY = "No Finding"
_SOURCE = "get the NIH's ChestX-ray14 from https://nihcc.app.box.com/v/ChestXray-NIHCC"
_TABLES = ("Data_Entry_2017.csv", "Data_Entry_2017_v2020.csv")
_LISTS = {"train": "train_val_list.txt", "test": "test_list.txt"}


class ChestXray14(LabelledImages):
    r"""The chest radiographs of the NIH with fourteen binary findings (Wang et al., 2017).

    The folder has to look like this. A single folder ``images`` with all archives unpacked works too::

        root/Data_Entry_2017.csv (or Data_Entry_2017_v2020.csv), train_val_list.txt, test_list.txt
        root/images_001/images/00000001_000.png ... root/images_012/images/

    Each finding is a binary task, in this order: Atelectasis, Cardiomegaly, Effusion, Infiltration, Mass, Nodule, Pneumonia,
    Pneumothorax, Consolidation, Edema, Emphysema, Fibrosis, Pleural_Thickening, Hernia. Images have one channel. The few that
    are stored with colours and alpha are converted to grey.

    Args:
        root: Folder of the data set.
        split: ``"train"`` (``train_val_list.txt``, 86,524 images) or ``"test"`` (``test_list.txt``, 25,596). No patient is in
            both.
        image_size: A side, or height and width, to resize the images to; 256 in the paper. None leaves them at 1024 by 1024.

    Attributes:
        tasks: The fourteen tasks by name.
        split: As given.
        image_size: Height and width, or None.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or a list or the table is broken.
        FileNotFoundError: a file is missing, or an image on the list.

    Example:
        >>> import pathlib, tempfile
        >>> from PIL import Image
        >>> from mtlue import datasets
        >>> with tempfile.TemporaryDirectory() as name:
        ...     root = pathlib.Path(name)
        ...     (root / "images_001" / "images").mkdir(parents=True)
        ...     Image.new("L", (1024, 1024)).save(root / "images_001" / "images" / "00000001_000.png")
        ...     _ = (root / "train_val_list.txt").write_text("00000001_000.png")
        ...     _ = (root / "Data_Entry_2017.csv").write_text("Image Index,Finding Labels\n00000001_000.png,Mass|Hernia")
        ...     image, targets = datasets.ChestXray14(root, split="train", image_size=256)[0]
        >>> image.shape, [name for name, label in targets.items() if label]
        (torch.Size([1, 256, 256]), ['Mass', 'Hernia'])
    """

    _mode = "L"
    _source = _SOURCE

    def __init__(self, root: str | os.PathLike[str], *, split: str, image_size: int | tuple[int, int] | None = None) -> None:
        folder = check_root(root, source=_SOURCE)
        split = check_split(split, tuple(_LISTS))
        size = check_image_size(image_size)
        listing = folder / _LISTS[split]
        names = read_lines(listing, source=_SOURCE)
        table = _find_table(folder)
        findings = _read_findings(table)
        unlabelled = [name for name in names if name not in findings]
        if unlabelled:
            raise ValueError(f"{table}: no line for {shortened(unlabelled)} of {listing.name}; {_SOURCE}")
        super().__init__(
            _find_images(folder, names, listing.name),
            _labels(names, findings, table),
            tasks={name: Classification(2) for name in _FINDINGS},
            split=split,
            image_size=size,
        )


def _find_table(root: Path) -> Path:
    for name in _TABLES:
        if (root / name).is_file():
            return root / name
    raise FileNotFoundError(f"{root}: there is neither {' nor '.join(_TABLES)}; {_SOURCE}")


def _read_findings(table: Path) -> dict[str, str]:
    # The column of findings by name of the image.
    # Columns by position: the commas in the header's [Width,Height] give columns the wrong names.
    try:
        header, *rows = list(csv.reader(read_lines(table, source=_SOURCE))) or [[]]
    except csv.Error as error:
        raise ValueError(f"{table}: cannot be read as a CSV file ({error}); {_SOURCE}") from None
    columns = [name.strip() for name in header]
    if "Image Index" not in columns or "Finding Labels" not in columns:
        raise ValueError(f"{table}: expected columns 'Image Index' and 'Finding Labels', got {columns}; {_SOURCE}")
    image, finding = columns.index("Image Index"), columns.index("Finding Labels")
    short = [row for row in rows if len(row) <= max(image, finding)]
    if short:
        raise ValueError(f"{table}: the line {','.join(short[0])!r} is cut short; {_SOURCE}")
    return {row[image].strip(): row[finding] for row in rows}


def _labels(names: Sequence[str], findings: Mapping[str, str], table: Path) -> torch.Tensor:
    labels = torch.zeros(len(names), len(_FINDINGS), dtype=torch.int8)
    column = {name: index for index, name in enumerate(_FINDINGS)}
    for row, name in enumerate(names):
        for finding in (part.strip() for part in findings[name].split("|")):
            if finding in column:
                labels[row, column[finding]] = 1
            elif finding != _HEALTHY:
                raise ValueError(f"{table}: unknown finding {finding!r} of {name}; {_SOURCE}")
    return labels


def _find_images(root: Path, names: Sequence[str], listing: str) -> list[str]:
    folders = [folder for folder in (*sorted(root.glob("images_*/images")), root / "images") if folder.is_dir()]
    # Search twelve folders instead of asking for 112,120 files.
    where = {name: folder for folder in folders for name in os.listdir(folder)}
    missing = [name for name in names if name not in where]
    if missing:
        raise FileNotFoundError(
            f"{root}: {len(missing)} of the {len(names)} images of {listing} are not in images_001/images ... "
            f"images_012/images: {shortened(missing)}; {_SOURCE}"
        )
    return [str(where[name] / name) for name in names]
