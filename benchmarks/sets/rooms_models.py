"""The models with which rooms are furnished, and which of them are for the test rooms alone."""

from __future__ import annotations

import zipfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

import numpy as np

from sets.rooms_classes import in_test, kind_of
from sets.rooms_furniture import Entry, read_catalogues, read_model
from sets.rooms_mesh import simplify
from sets.rooms_things import Model

_MOST_FACES = 3_000  # of a model; a pixel is centimetres wide, and finer ones take long
_THICKEST = 0.08  # metres: what is in a wall; its other half is outdoors


@dataclass(frozen=True)
class Furniture:
    """Models by kind, for the rooms of training and for those of the test; no model is in both.

    Attributes:
        entries: What the catalogues say of them all.
        train: Of training rooms.
        test: Of test rooms.
    """

    entries: Sequence[Entry]
    train: Mapping[str, Sequence[Model]]
    test: Mapping[str, Sequence[Model]]


def read_furniture(folder: Path) -> Furniture:
    """Models out of the archives of a folder.

    Raises:
        FileNotFoundError: If the folder holds no archive.
    """
    kinds = {entry: kind for entry in read_catalogues(folder) if (kind := kind_of(entry)) is not None}
    test = in_test(kinds.items())
    models: dict[bool, dict[str, list[Model]]] = {True: defaultdict(list), False: defaultdict(list)}
    for path, several in groupby(kinds, key=lambda entry: entry.archive):
        with zipfile.ZipFile(path) as archive:
            for entry in several:
                models[entry.key in test][kinds[entry]].append(_model(entry, kinds[entry], archive))
    return Furniture(list(kinds), models[False], models[True])


def _model(entry: Entry, kind: str, archive: zipfile.ZipFile) -> Model:
    label = kind.split(maxsplit=1)[0]
    mesh = simplify(read_model(entry, archive, panes=label == "window"), most=_MOST_FACES)
    if label in {"wall", "window"}:
        mesh = replace(mesh, vertices=mesh.vertices * np.array([1, 1, min(1, _THICKEST / entry.size[2])]))
    return Model(mesh, kind, name=entry.name, elevation=entry.elevation)


def write_credits(entries: Sequence[Entry], path: Path) -> None:
    """Names who made the models, and the licences that the archives state."""
    lines = ["Rooms: rendered images, made with models of furniture. These are not by the makers of the images.", ""]
    for archive in sorted({entry.archive for entry in entries}):
        with zipfile.ZipFile(archive) as file:
            licence = (
                file.read("LICENSE.TXT").decode("latin-1").strip() if "LICENSE.TXT" in file.namelist() else "no licence file"
            )
        lines += [f"== {archive.name}", "", *licence.splitlines(), "", "Models used, and who made them:", ""]
        lines += [f"{entry.key}: {entry.name}, by {entry.creator}" for entry in entries if entry.archive == archive]
        lines.append("")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
