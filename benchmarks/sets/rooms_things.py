"""Things that are put into rooms: models, where they are, and where others find a place on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sets.rooms_cast import Caster
from sets.rooms_mesh import Floats, Mesh, turn
from sets.rooms_patterns import Pattern


@dataclass(frozen=True)
class Model:
    """A mesh with its kind, which is class and place, and its name and elevation in the catalogue."""

    mesh: Mesh
    kind: str
    name: str = ""
    elevation: float = 0.0

    @property
    def label(self) -> str:
        """Its class."""
        return self.kind.split(maxsplit=1)[0]

    @cached_property
    def size(self) -> Floats:
        """Width, height and depth."""
        high, low = self.mesh.vertices.max(0), self.mesh.vertices.min(0)
        return np.array([high[0] - low[0], high[1], high[2] - low[2]])

    @cached_property
    def caster(self) -> Caster:
        """To find where something can be put on it."""
        return Caster([self.mesh])


@dataclass(frozen=True)
class Thing:
    """A model at a place in the room."""

    model: Model
    position: Floats
    yaw: float
    tint: Floats

    @property
    def mesh(self) -> Mesh:
        """Its mesh in the room's frame."""
        return replace(self.model.mesh, vertices=self.model.mesh.vertices @ turn(self.yaw) + self.position)

    @cached_property
    def floor(self) -> tuple[Floats, Floats]:
        """Least and largest x and z of what it covers."""
        c, s = abs(np.cos(self.yaw)), abs(np.sin(self.yaw))
        width, _, depth = self.model.size / 2
        half = np.array([width * c + depth * s, width * s + depth * c])
        return self.position[[0, 2]] - half, self.position[[0, 2]] + half


@dataclass(frozen=True)
class Room:
    """An empty room from (0, 0, 0) to its size, with its things and lamps.

    Attributes:
        size: Width along x, height, depth along z.
        patterns: Of the floor, the ceiling and the four walls.
        things: What is in it.
        lamps: Places (N, 3) of lamps.
        lights: Their colours (N, 3).
        exposure: How bright a picture of it is.
    """

    size: Floats
    patterns: Sequence[Pattern]
    things: Sequence[Thing]
    lamps: Floats
    lights: Floats
    exposure: float


def level_below(caster: Caster, x: float, z: float, start: float, size: Floats) -> float | None:
    """Height of the level place below (x, start, z) for something of a size (width, height, depth), if it has room there."""
    width, height, depth = size
    offsets = np.array([[0, 0], [-1, -1], [-1, 1], [1, -1], [1, 1]]) * np.array([width, depth]) * 0.45
    origins = np.insert(offsets + np.array([x, z]), 1, start, axis=1)
    down = np.tile([0.0, -1.0, 0.0], (5, 1))
    levels = start - caster.hits(origins, down).distances
    if not np.isfinite(levels).all() or np.ptp(levels) > 0.02:
        return None
    origins[:, 1] = levels.max() + 0.005
    if (caster.hits(origins, -down).distances < height).any():
        return None
    return float(levels.max())
