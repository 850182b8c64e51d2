"""Casting rays at meshes, by embreex."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from sets.rooms_mesh import Floats, Integers, Mesh


class Caster:
    """Meshes in one place, at which rays are cast.

    Raises:
        SystemExit: If embreex is not installed.
    """

    def __init__(self, meshes: Sequence[Mesh]) -> None:
        try:
            scenes: Any = importlib.import_module("embreex.rtcore_scene")
            geometries: Any = importlib.import_module("embreex.mesh_construction")
        except ImportError:
            raise SystemExit("rooms are rendered by embreex: pip install embreex") from None
        self._scene = scenes.EmbreeScene()
        self._geometries = [
            geometries.TriangleMesh(self._scene, mesh.vertices.astype(np.float32), mesh.faces.astype(np.int32))
            for mesh in meshes
        ]

    def hits(self, origins: Floats, rays: Floats) -> Hits:
        """What rays (N, 3) from points (N, 3) hit first."""
        found = self._scene.run(_float32(origins, rays), _float32(rays, rays), output=1)
        weights = np.stack([1 - found["u"] - found["v"], found["u"], found["v"]], axis=-1)
        missed = found["geomID"] < 0
        distances = np.where(missed, np.inf, found["tfar"].astype(float))
        return Hits(distances, found["geomID"], found["primID"], weights.astype(float), found["Ng"].astype(float))

    def blocked(self, origins: Floats, rays: Floats) -> Any:
        """Whether something lies on the way (N,) from points (N, 3) to points + rays."""
        ends = np.full(len(rays), 0.999, dtype=np.float32)
        return self._scene.run(_float32(origins, rays), _float32(rays, rays), dists=ends, query="OCCLUDED") >= 0


class Hits:
    """What N rays hit.

    Attributes:
        distances: In lengths of the ray, infinite where nothing is hit, (N,).
        meshes: Number of the mesh, -1 where nothing is hit, (N,).
        faces: Number of its face, (N,).
        weights: Of the face's corners, (N, 3).
        normals: Of the face, of any length and to either side, (N, 3).
    """

    def __init__(self, distances: Floats, meshes: Integers, faces: Integers, weights: Floats, normals: Floats) -> None:
        self.distances, self.meshes, self.faces, self.weights, self.normals = distances, meshes, faces, weights, normals


def _float32(values: Floats, like: Floats) -> Floats:
    return np.ascontiguousarray(np.broadcast_to(values, like.shape), dtype=np.float32)
