"""A pinhole camera, and what it measures: depth along its axis and normals that face it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sets.rooms_mesh import Floats


@dataclass(frozen=True)
class Camera:
    """A camera with square images: x of its frame points to the right, y up and z backwards, to whom is seen.

    Attributes:
        position: (3,), in metres.
        yaw: Radians; 0 looks along -z and a quarter turn along -x.
        pitch: Radians; looks down where it is negative.
        field: Angle between the left and the right edge of the image, in radians.
    """

    position: Floats
    yaw: float
    pitch: float
    field: float

    @property
    def axes(self) -> Floats:
        """The frame's x, y and z as rows, (3, 3)."""
        c, s = np.cos(self.yaw), np.sin(self.yaw)
        backwards = np.array([s * np.cos(self.pitch), -np.sin(self.pitch), c * np.cos(self.pitch)])
        right = np.array([c, 0.0, -s])
        return np.stack([right, np.cross(backwards, right), backwards])

    def rays(self, size: int) -> Floats:
        """Directions (size, size, 3) through the middles of pixels, one metre long along the axis."""
        steps = ((np.arange(size) + 0.5) / size * 2 - 1) * np.tan(self.field / 2)
        across, down = np.meshgrid(steps, steps)
        rays: Floats = np.stack([across, -down, -np.ones_like(across)], axis=-1) @ self.axes
        return rays

    def normals(self, normals: Floats, rays: Floats) -> Floats:
        """Unit normals (..., 3) of surfaces that rays (..., 3) hit, in the camera's frame and turned towards the camera."""
        lengths = np.linalg.norm(normals, axis=-1, keepdims=True)
        unit = normals / np.maximum(lengths, 1e-20)
        away = (unit * rays).sum(-1, keepdims=True) > 0
        turned: Floats = np.where(away, -unit, unit) @ self.axes.T
        return turned
