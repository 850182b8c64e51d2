"""Options that several commands share."""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any


def add_photos(parser: argparse.ArgumentParser) -> None:
    """Add options for a folder of photos with a table of labels."""
    parser.add_argument("photos", metavar="PHOTOS", type=Path, help="folder with the clean photos")
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="CSV",
        help="table with a line for each photo (default: labels.csv in the folder, or beside it)",
    )
    parser.add_argument("--image-column", metavar="NAME", help="column with the files of the photos (default: the first)")
    parser.add_argument(
        "--image-size",
        type=size,
        metavar="PIXELS",
        help="resize all photos to this side, or to HEIGHTxWIDTH (default: as they are)",
    )
    parser.add_argument("--channels", type=int, choices=(1, 3), help="convert all photos to grey (1) or to colour (3)")


def add_compute(parser: argparse.ArgumentParser) -> None:
    """Add options for where a command computes."""
    parser.add_argument("--device", help="where to compute: cpu, cuda or mps (default: the fastest available)")
    parser.add_argument("--batch-size", type=positive, metavar="N", help="photos in each step (default: as many as fit)")
    parser.add_argument("--workers", type=natural, default=0, metavar="N", help="processes that read photos (default: 0)")


def compute_settings(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of `add_compute` as arguments of the library's functions."""
    return {"batch_size": options.batch_size, "device": options.device, "num_workers": options.workers}


def check_file(file: Path, option: str, endings: Collection[str]) -> None:
    """Refuse a file to write before the work on it begins: one with another ending, or in no folder.

    Raises:
        FileNotFoundError: its folder does not exist.
        ValueError: it has another ending.
    """
    if file.suffix not in endings:
        raise ValueError(f"{option}: expected a name that ends in {', '.join(endings)}, got {file}")
    if not file.parent.is_dir():
        raise FileNotFoundError(f"{option}: the folder {file.parent} does not exist; make it first")


def positive(text: str) -> int:
    """Read a positive whole number.

    Raises:
        ArgumentTypeError: it is not one.
    """
    return _whole(text, 1)


def natural(text: str) -> int:
    """Read a whole number that is not negative.

    Raises:
        ArgumentTypeError: it is not one.
    """
    return _whole(text, 0)


def size(text: str) -> int | tuple[int, int]:
    """Read a side, or height and width.

    Raises:
        ArgumentTypeError: it is neither.
    """
    sides = [_whole(side, 1) for side in text.lower().split("x")]
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"expected a size such as 128 or 128x96, got {text!r}")
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def levels(text: str) -> float:
    """Read a budget in levels of 255, and return it on the scale of [0, 1].

    Raises:
        ArgumentTypeError: it is not a number, or out of range.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 255:
        raise argparse.ArgumentTypeError(f"expected a number of levels out of 255, such as 8, got {text!r}")
    return value / 255


def _whole(text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise argparse.ArgumentTypeError(f"expected a whole number from {least} on, got {text!r}")
    return int(text)
