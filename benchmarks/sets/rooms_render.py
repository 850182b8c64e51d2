"""Taking a picture of a room: image, classes, depth and normals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sets.rooms_camera import Camera
from sets.rooms_cast import Caster, Hits
from sets.rooms_classes import CLASSES, IGNORED
from sets.rooms_mesh import Floats, Integers, boxes, plain
from sets.rooms_scene import furnish
from sets.rooms_things import Model, Room

# Of each side of the box that a room is: what it is, the directions along it, and the number of its pattern.
_SIDES = (
    ("wall", (2, 1), 2),
    ("wall", (2, 1), 3),
    ("ceiling", (0, 2), 1),
    ("floor", (0, 2), 0),
    ("wall", (0, 1), 4),
    ("wall", (0, 1), 5),
)
_AMBIENT = 0.45
_EYES = (1.1, 1.7)  # metres: height of the camera
_AWAY = 0.2  # metres: how far it is from what is as high as it
_ENOUGH = 0.45  # share of a picture that is not bare room, with which no other is looked for
_NEAREST, _MIDDLE = 0.6, 1.5  # metres: what a twentieth and what half of a picture is farther than


@dataclass(frozen=True)
class View:
    """What a camera sees.

    Attributes:
        image: (H, W, 3), multiples of 1/255 in [0, 1].
        label: Number of the class, -1 where there is none, (H, W).
        depth: Metres along the optical axis, 0 where there is none, (H, W, 1).
        normal: Unit vectors in the camera's frame (x to the right, y up, z to the camera), zero where there is none, (H, W, 3).
    """

    image: Floats
    label: Integers
    depth: Floats
    normal: Floats


class Stage:
    """A room to take pictures of."""

    def __init__(self, room: Room) -> None:
        self.room = room
        self._hull = boxes(np.zeros((1, 3)), room.size[None], [plain(np.ones(3))])
        self._meshes = [self._hull, *(thing.mesh for thing in room.things)]
        self._caster = Caster(self._meshes)
        self._labels = np.array([CLASSES.index(thing.model.label) for thing in room.things], dtype=int)

    def view(self, camera: Camera, size: int) -> View:
        """The picture, without holes in what is measured."""
        rays = camera.rays(size).reshape(-1, 3)
        hits = self._caster.hits(camera.position, rays)
        found = hits.meshes >= 0
        label = np.where(found, self.labels(hits), IGNORED)
        depth = np.where(found, hits.distances, 0.0)
        normal = np.where(found[:, None], camera.normals(hits.normals, rays), 0.0)
        fine = camera.rays(2 * size).reshape(-1, 3)
        light = self.colors(camera.position, fine, self._caster.hits(camera.position, fine))
        # Exposed by its mean, as cameras do, and never wholly white.
        light *= self.room.exposure / max(light.mean(), 1e-6)
        colors = light / (1 + light**3) ** (1 / 3)
        image = colors.reshape(size, 2, size, 2, 3).mean((1, 3))
        return View(
            np.round(image * 255) / 255, label.reshape(size, size), depth.reshape(size, size, 1), normal.reshape(size, size, 3)
        )

    def labels(self, hits: Hits) -> Integers:
        """Classes of what is hit."""
        hull = np.array([CLASSES.index(label) for label, _, _ in _SIDES])
        labels = np.append(self._labels, IGNORED)[(hits.meshes - 1).clip(-1)]
        seen: Integers = np.where(hits.meshes == 0, hull[(hits.faces // 2).clip(0, 5)], labels)
        return seen

    def worth(self, camera: Camera, size: int = 14) -> float:
        """Share of the picture that is not bare room; below zero if something stands in the way."""
        hits = self._caster.hits(camera.position, camera.rays(size).reshape(-1, 3))
        near, middle = np.quantile(hits.distances, [0.05, 0.5])
        return float((hits.meshes > 0).mean()) - float(near < _NEAREST) - float(middle < _MIDDLE)

    def colors(self, origin: Floats, rays: Floats, hits: Hits) -> Floats:
        """Colours (N, 3) of what is hit, lit by the room's lamps."""
        points = origin + np.where(np.isfinite(hits.distances), hits.distances, 0.0)[:, None] * rays
        normals = hits.normals / np.maximum(np.linalg.norm(hits.normals, axis=1, keepdims=True), 1e-20)
        normals = np.where((normals * rays).sum(1, keepdims=True) > 0, -normals, normals)
        albedo = self._albedo(points, hits)
        light: Floats = np.full((len(points), 3), _AMBIENT) * (1 + 0.15 * normals[:, 1:2])
        for lamp, color in zip(self.room.lamps, self.room.lights, strict=True):
            way = lamp - points
            distance = np.linalg.norm(way, axis=1)
            towards = (way * normals).sum(1) / np.maximum(distance, 1e-6)
            lit = np.zeros(len(points))
            facing = np.flatnonzero(towards > 0)
            start = points[facing] + 2e-3 * normals[facing]
            lightened = facing[~self._caster.blocked(start, lamp - start)]
            lit[lightened] = towards[lightened] / (0.6 + distance[lightened] ** 2 / 6)
            light += lit[:, None] * color
        shining = np.append(self._labels == CLASSES.index("window"), False)[(hits.meshes - 1).clip(-1)] & (hits.meshes > 0)
        light[shining] = np.maximum(light[shining], 0.95)
        colors: Floats = albedo * light
        return colors

    def _albedo(self, points: Floats, hits: Hits) -> Floats:
        albedo = np.zeros((len(points), 3))
        for number in np.unique(hits.meshes):
            chosen = hits.meshes == number
            if number > 0:
                colors = self._meshes[number].colors(hits.faces[chosen], hits.weights[chosen])
                albedo[chosen] = np.clip(colors * self.room.things[number - 1].tint, 0, 1)
        sides = np.where(hits.meshes == 0, hits.faces // 2, -1)
        for side, (_, axes, pattern) in enumerate(_SIDES):
            chosen = sides == side
            if chosen.any():
                albedo[chosen] = self.room.patterns[pattern](points[chosen][:, axes])
        return albedo


def find_camera(stage: Stage, random: np.random.Generator) -> Camera:
    """A camera at the height of eyes, the first of ten that sees much furniture, or the one that sees most."""
    size = stage.room.size
    tall = [thing.floor for thing in stage.room.things if thing.position[1] + thing.model.size[1] > _EYES[0] - _AWAY]
    best, most = None, -np.inf
    for _ in range(10):
        x, z = random.uniform(0.08, 0.92, 2) * size[[0, 2]]
        position = np.array([x, random.uniform(*_EYES), z])
        aim = size[[0, 2]] * random.uniform(0.3, 0.7, 2) - position[[0, 2]]
        yaw = np.arctan2(-aim[0], -aim[1]) + random.uniform(-0.4, 0.4)
        camera = Camera(position, float(yaw), random.uniform(-0.45, 0.08), random.uniform(1.0, 1.3))
        worth = stage.worth(camera)
        if any((position[[0, 2]] > low - _AWAY).all() and (position[[0, 2]] < high + _AWAY).all() for low, high in tall):
            worth -= 2.0  # in something, or all but
        if best is None or worth > most:
            best, most = camera, worth
        if most > _ENOUGH:
            break
    if best is None:
        raise AssertionError("ten cameras were tried")
    return best


def holes(random: np.random.Generator, size: int, *, most: int = 5) -> np.ndarray:
    """Where there is no reading, (size, size): some ellipses, the same for every size."""
    middles = (np.arange(size) + 0.5) / size
    missing = np.zeros((size, size), dtype=bool)
    for _ in range(random.integers(0, most + 1)):
        y, x = random.uniform(0, 1, 2)
        height, width = np.exp(random.uniform(np.log(0.02), np.log(0.12), 2))
        missing |= ((middles[:, None] - y) / height) ** 2 + ((middles - x) / width) ** 2 < 1
    return missing


def render(models: Mapping[str, Sequence[Model]], random: np.random.Generator, size: int) -> View:
    """A picture of a room with such models, with holes in what is measured."""
    stage = Stage(furnish(models, random))
    view = stage.view(find_camera(stage, random), size)
    unread, unnamed = holes(random, size), holes(random, size)
    label = np.where(unnamed, IGNORED, view.label)
    depth, normal = (np.where(unread[..., None], 0.0, values) for values in (view.depth, view.normal))
    return View(view.image, label, depth, normal)
