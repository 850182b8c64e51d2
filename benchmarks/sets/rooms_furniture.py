"""Furniture of Sweet Home 3D: models and their names, out of ``.sh3f`` archives."""

from __future__ import annotations

import io
import posixpath
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image

from sets.rooms_mesh import Floats, Mesh, plain

_Material: TypeAlias = tuple[tuple[float, float, float], float, str | None]  # colour, opacity, image

_CATALOGUE = "PluginFurnitureCatalog.properties"
_TEXTURE_SIZE = 64  # a texture is larger on no image; also what keeps distant ones from flickering
_GREY = (0.6, 0.6, 0.6)
_UNKNOWN: _Material = (_GREY, 1.0, None)
_SKY = (0.80, 0.90, 1.0)
_TRANSPARENT = 0.15  # materials with less opacity are left out
_PANE = 0.7  # those with less in a window are panes


@dataclass(frozen=True)
class Entry:
    """A model as the catalogue of its archive lists it.

    Attributes:
        key: Archive and folder, ``"scopia/sofa"``: one model only has it.
        name: What it is in English.
        archive: The ``.sh3f`` file.
        path: The OBJ file in it.
        size: Width, height and depth in metres.
        elevation: Height above the ground at which it hangs, in metres; 0 when it stands.
        category: Where the catalogue lists it, as ``"Bedroom"``.
        rotation: (3, 3) row by row, what puts the model upright with its front to +z.
        creator: Who made it.
    """

    key: str
    name: str
    archive: Path
    path: str
    size: tuple[float, float, float]
    elevation: float
    category: str
    rotation: tuple[float, ...]
    creator: str


def read_catalogues(folder: Path) -> list[Entry]:
    """Models of all archives in a folder, in order of key.

    Raises:
        FileNotFoundError: If the folder holds no archive.
    """
    archives = sorted(Path(folder).glob("*.sh3f"))
    if not archives:
        raise FileNotFoundError(
            f"no .sh3f archive in {folder}: install the Debian package sweethome3d-furniture, or unpack it and give its folder"
        )
    return sorted((entry for archive in archives for entry in _read_catalogue(archive)), key=lambda entry: entry.key)


def _read_catalogue(archive: Path) -> list[Entry]:
    with zipfile.ZipFile(archive) as file:
        text = file.read(_CATALOGUE).decode("latin-1")
    models: dict[int, dict[str, str]] = {}
    for field, number, value in re.findall(r"^[ \t]*(\w+)#(\d+)[ \t]*=[ \t]*(.*?)[ \t\r]*$", text, flags=re.MULTILINE):
        # Letters outside Latin-1 are written as escapes.
        models.setdefault(int(number), {})[field] = re.sub(r"\\u([0-9a-fA-F]{4})", lambda x: chr(int(x[1], 16)), value)
    return [_entry(archive, model) for model in models.values()]


def _entry(archive: Path, model: Mapping[str, str]) -> Entry:
    path = model["model"].lstrip("/")
    width, height, depth = (float(model[name]) / 100 for name in ("width", "height", "depth"))
    rotation = tuple(float(number) for number in model.get("modelRotation", "1 0 0 0 1 0 0 0 1").split())
    elevation = float(model.get("elevation", 0)) / 100
    return Entry(
        key=posixpath.dirname(path),
        name=model["name"],
        archive=archive,
        path=path,
        size=(width, height, depth),
        elevation=elevation,
        category=model.get("category", ""),
        rotation=rotation,
        creator=model.get("creator", "unknown"),
    )


def read_model(entry: Entry, archive: zipfile.ZipFile, *, panes: bool = False) -> Mesh:
    """The triangles of a model, upright, of the size that the catalogue says, centred over the origin.

    What can be seen through is left out, or has the colour of the sky where ``panes`` is true.

    Raises:
        ValueError: If it has no triangle to be seen.
    """
    folder = posixpath.dirname(entry.path)
    vertices, faces, coordinates, names, libraries = _read_obj(archive.read(entry.path).decode("latin-1"))
    materials = _read_materials(archive, folder, libraries)
    order = sorted(set(names))
    seen = np.array([panes or materials.get(name, _UNKNOWN)[1] >= _TRANSPARENT for name in order])
    numbers = np.searchsorted(order, names)
    kept = seen[numbers] if order else np.zeros(0, dtype=bool)
    if not kept.any():
        raise ValueError(f"{entry.key} has no triangle to be seen")
    faces, coordinates, numbers = faces[kept], coordinates[kept], numbers[kept]
    used, places = np.unique(faces, return_inverse=True)
    vertices = vertices[used] @ np.reshape(entry.rotation, (3, 3)).T
    low, high = vertices.min(0), vertices.max(0)
    scale = np.array(entry.size) / np.maximum(high - low, 1e-6)
    origin = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    textures = tuple(_texture(archive, materials.get(name, _UNKNOWN), panes=panes) for name in order)
    return Mesh((vertices - origin) * scale, places.reshape(-1, 3), coordinates, numbers, textures)


def _read_obj(text: str) -> tuple[Floats, np.ndarray, Floats, list[str], list[str]]:
    """Vertices, triangles, their texture coordinates and materials, and the files of materials."""
    vertices: list[list[float]] = []
    places: list[list[float]] = [[0.0, 0.0]]  # for corners without a place
    corners: list[tuple[int, int]] = []
    names: list[str] = []
    libraries: list[str] = []
    name = ""
    for line in text.replace("\\\n", " ").splitlines():
        if line.startswith("vn"):
            continue
        words = line.split()
        if not words:
            continue
        if words[0] == "v":
            vertices.append([float(word) for word in words[1:4]])
        elif words[0] == "vt":
            places.append([float(word) for word in words[1:3]])
        elif words[0] == "f":
            polygon = [_corner(word, len(vertices), len(places)) for word in words[1:]]
            for second, third in pairwise(polygon[1:]):
                corners += [polygon[0], second, third]
                names.append(name)
        elif words[0] == "usemtl":
            name = line.split(None, 1)[1].strip() if len(words) > 1 else ""
        elif words[0] == "mtllib":
            libraries.append(line.split(None, 1)[1].strip())
    numbers = np.array(corners, dtype=int).reshape(-1, 3, 2)
    return np.array(vertices), numbers[..., 0], np.array(places)[numbers[..., 1]], names, libraries


def _corner(word: str, vertices: int, places: int) -> tuple[int, int]:
    """Numbers of a vertex and of its place in the texture; the file counts from 1, or back from the end."""
    vertex, place, *_ = [*word.split("/"), "", ""]
    v, t = int(vertex), int(place or 0)
    return v - 1 if v > 0 else vertices + v, t if t >= 0 else places + t


def _read_materials(archive: zipfile.ZipFile, folder: str, libraries: list[str]) -> dict[str, _Material]:
    """Colour, opacity and path of the image of each material."""
    members = {member.lower(): member for member in archive.namelist()}
    materials: dict[str, _Material] = {}
    for library in libraries:
        path = members.get(posixpath.join(folder, library).lower())
        if path is None:
            continue
        for block in re.split(r"^[ \t]*newmtl[ \t]+", archive.read(path).decode("latin-1"), flags=re.MULTILINE)[1:]:
            color, opacity, image = _GREY, 1.0, None
            for line in block.splitlines()[1:]:
                words = line.split()
                if words[:1] == ["Kd"]:
                    color = (float(words[1]), float(words[2]), float(words[3]))
                elif words[:1] == ["d"]:
                    opacity = float(words[-1])
                elif words[:1] == ["map_Kd"]:
                    image = members.get(posixpath.join(folder, line.split(None, 1)[1].strip()).lower())
            materials[block.splitlines()[0].strip()] = (color, opacity, image)
    return materials


def _texture(archive: zipfile.ZipFile, material: _Material, *, panes: bool) -> Floats:
    color, opacity, path = material
    if panes and opacity < _PANE:
        return plain(_SKY)
    if path is None:
        return plain(np.clip(color, 0, 1))
    with Image.open(io.BytesIO(archive.read(path))) as image:
        small = image.convert("RGB")
        small.thumbnail((_TEXTURE_SIZE, _TEXTURE_SIZE), Image.Resampling.BOX)
        return np.asarray(small, dtype=float) / 255
