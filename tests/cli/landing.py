"""Stands for what is not there yet: ``protect(check=)`` and ``verify``. Take it away once both are there."""

from __future__ import annotations

import inspect
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import mtlue

LANDED = "check" in inspect.signature(mtlue.protect).parameters and "verify" in mtlue.__all__
_protect = mtlue.protect


class Check:
    """What a check finds."""

    verdict: ClassVar[dict[str, str]] = {"pet": "protected", "lit": "weakly protected"}

    def __str__(self) -> str:
        return "pet  a small network"


def protect(dataset: Any, *, check: bool = True, **settings: Any) -> Any:
    protected: Any = _protect(dataset, **settings)
    protected.check = Check() if check else None
    return protected


@dataclass
class Description:
    """What is known of a folder."""

    length: int
    files: int
    tasks: tuple[str, ...] = ("pet", "lit")
    epsilon: float = 8 / 255


def verify(folder: Path) -> Description:
    images = len(list((folder / "images").glob("*.png")))
    lines = len((folder / "labels.csv").read_text().splitlines()) - 1
    if images != lines:
        raise ValueError(f"folder: {folder} is not as it was written: {images} images, expected {lines}")
    return Description(images, images + 1)


def stand_in() -> None:
    if not LANDED:
        mtlue.protect = protect
        mtlue.verify = verify  # type: ignore[attr-defined]


if __name__ == "__main__":
    stand_in()
    from mtlue._cli import main

    sys.exit(main())
