"""Triangles with colours: what rooms and furniture are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating]
Integers: TypeAlias = npt.NDArray[np.integer]

# Corners of a box from (0, 0, 0) to (1, 1, 1), its six sides seen anticlockwise from outside, and the corners of a texture.
_CORNERS = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], dtype=float)
_SIDES = np.array([[4, 6, 7, 5], [0, 1, 3, 2], [2, 3, 7, 6], [0, 4, 5, 1], [1, 5, 7, 3], [0, 2, 6, 4]])
_ON_SIDE = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=float)


@dataclass(frozen=True)
class Mesh:
    """Triangles in metres: x to the right, y up and z to the front, with the ground at y = 0.

    Attributes:
        vertices: (V, 3).
        faces: Numbers of vertices, (F, 3).
        coordinates: Place in the texture of each corner, from the bottom left, (F, 3, 2).
        materials: Number of the texture of each face, (F,).
        textures: Images (H, W, 3) in [0, 1]; one pixel is a plain colour.
    """

    vertices: Floats
    faces: Integers
    coordinates: Floats
    materials: Integers
    textures: tuple[Floats, ...]

    def colors(self, faces: Integers, weights: Floats) -> Floats:
        """Colours (N, 3) where faces (N,) are hit, with the weights (N, 3) of their corners."""
        places = np.einsum("nkc,nk->nc", self.coordinates[faces], weights)
        materials = self.materials[faces]
        colors = np.empty((len(faces), 3))
        for material in np.unique(materials):
            texture, chosen = self.textures[material], materials == material
            height, width = texture.shape[:2]
            across = np.floor(places[chosen, 0] % 1 * width).astype(int).clip(0, width - 1)
            down = np.floor((1 - places[chosen, 1] % 1) * height).astype(int).clip(0, height - 1)
            colors[chosen] = texture[down, across]
        return colors


def plain(color: npt.ArrayLike) -> Floats:
    """A texture of one colour."""
    return np.asarray(color, dtype=float).reshape(1, 1, 3)


def boxes(lows: Floats, highs: Floats, textures: list[Floats]) -> Mesh:
    """Boxes between corners (N, 3) and (N, 3), each with its own texture, which fills every side once."""
    lows, highs = np.asarray(lows, dtype=float), np.asarray(highs, dtype=float)
    vertices = lows[:, None] + _CORNERS * (highs - lows)[:, None]
    quads = _SIDES + 8 * np.arange(len(lows))[:, None, None]
    faces = quads[..., [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)
    coordinates = np.broadcast_to(_ON_SIDE[[[0, 1, 2], [0, 2, 3]]], (len(lows), 6, 2, 3, 2)).reshape(-1, 3, 2)
    return Mesh(vertices.reshape(-1, 3), faces, coordinates, np.repeat(np.arange(len(lows)), 12), tuple(textures))


def turn(yaw: float) -> Floats:
    """Rotation about the vertical axis that takes +z towards +x, for row vectors on the left."""
    cosine, sine = np.cos(yaw), np.sin(yaw)
    return np.array([[cosine, 0.0, -sine], [0.0, 1.0, 0.0], [sine, 0.0, cosine]])


def simplify(mesh: Mesh, *, most: int) -> Mesh:
    """A mesh of at most that many faces, or not many more: vertices in one cell of a grid become one, as coarse as it takes."""
    size = np.ptp(mesh.vertices, axis=0).max()
    cell = 0.005
    while len(mesh.faces) > most and cell < 0.05:
        _, first, numbers = np.unique(
            _numbered(np.round(mesh.vertices / (cell * size))), return_index=True, return_inverse=True
        )
        faces = numbers[mesh.faces]
        # What is left of a face is one still if its corners are three, and it is the only one of them.
        whole = np.flatnonzero((np.diff(np.sort(faces, axis=1), axis=1) > 0).all(axis=1))
        _, single = np.unique(_numbered(np.sort(faces[whole], axis=1)), return_index=True)
        kept = whole[np.sort(single)]
        mesh = Mesh(mesh.vertices[first], faces[kept], mesh.coordinates[kept], mesh.materials[kept], mesh.textures)
        cell *= 1.5
    return mesh


def _numbered(rows: Any) -> Integers:
    """One number a row (N, 3) of whole numbers, the same for the same rows."""
    whole = np.asarray(rows, dtype=np.int64)
    first, second, third = (whole - whole.min(axis=0, initial=0)).T
    numbers: Integers = (first << 42) + (second << 21) + third
    return numbers
