"""Furniture made up for the tests of the rendered rooms."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sets.rooms_classes import kind_of
from sets.rooms_furniture import Entry
from sets.rooms_mesh import boxes, plain
from sets.rooms_things import Model

FURNITURE = Path("/usr/share/sweethome3d/furniture")
GREY = plain([0.5, 0.5, 0.5])
UPRIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


def entry(name: str, *, size: tuple[float, float, float] = (0.5, 0.5, 0.5), elevation: float = 0, category: str = "") -> Entry:
    return Entry(f"made/{name}", name, Path("made.sh3f"), "made/it.obj", size, elevation, category, UPRIGHT, "me")


def box(width: float, height: float, depth: float, kind: str) -> Model:
    low, high = [[-width / 2, 0.0, -depth / 2]], [[width / 2, height, depth / 2]]
    return Model(boxes(np.array(low), np.array(high), [GREY]), kind)


# A model of every class that rooms are furnished with; names decide the class.
NAMES = {
    "Bed": (1.4, 0.5, 2.0),
    "Chair": (0.4, 0.9, 0.4),
    "Sofa": (1.8, 0.8, 0.8),
    "Table": (1.2, 0.75, 0.8),
    "Bookcase": (0.9, 1.8, 0.3),
    "Vase": (0.2, 0.3, 0.2),
    "TV": (0.7, 0.5, 0.2),
    "Window": (1.0, 1.2, 0.3),
    "Door": (0.9, 2.0, 0.3),
}
MODELS = {kind: [box(*size, kind)] for name, size in NAMES.items() if (kind := kind_of(entry(name, size=size))) is not None}


def archive(folder: Path, files: Mapping[str, str | bytes], name: str = "made.sh3f") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as file:
        for path, text in files.items():
            file.writestr(path, text)
    return folder
