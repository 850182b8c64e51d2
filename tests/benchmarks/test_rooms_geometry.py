"""Camera and meshes of the rendered rooms."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from made_furniture import GREY
from sets.rooms_camera import Camera
from sets.rooms_mesh import Mesh, boxes, simplify, turn

# --- the camera


def test_a_wall_that_is_faced_is_as_far_in_every_pixel() -> None:
    camera = Camera(np.array([1.0, 1.5, 2.0]), yaw=0.0, pitch=0.0, field=np.pi / 2)
    rays = camera.rays(4)
    # The wall is the plane z = 0: it takes 2 lengths of each ray to reach it.
    assert np.allclose(camera.position[2] / -rays[..., 2], 2.0)
    # A right angle: the edges are as far aside as ahead, the middles of the outermost pixels three quarters of that.
    assert np.allclose(rays[0, 0], [-0.75, 0.75, -1.0])
    assert np.allclose(rays[3, 2], [0.25, -0.75, -1.0])


def test_normals_are_turned_to_the_camera_in_its_frame() -> None:
    camera = Camera(np.zeros(3), yaw=np.pi / 2, pitch=0.0, field=1.0)  # looks along -x
    ray = -camera.axes[2]
    assert np.allclose(ray, [-1, 0, 0])
    for normal in ([1.0, 0.0, 0.0], [-3.0, 0.0, 0.0]):
        assert np.allclose(camera.normals(np.array(normal), ray), [0, 0, 1])
    # A wall seen at an angle: its normal (1, 0, 1) points to the camera and, as +z is to its left, to the left.
    assert np.allclose(camera.normals(np.array([1.0, 0.0, 1.0]), ray), [-(0.5**0.5), 0, 0.5**0.5])


def test_a_camera_that_looks_down_sees_the_floor_tilted() -> None:
    camera = Camera(np.array([0.0, 1.0, 0.0]), yaw=0.7, pitch=-np.pi / 6, field=1.0)
    middle = -camera.axes[2]
    # A metre above the floor and down by thirty degrees, the axis meets it after two metres.
    assert np.isclose(camera.position[1] / -middle[1], 2.0)
    assert np.allclose(camera.normals(np.array([0.0, 1.0, 0.0]), middle), [0, np.cos(np.pi / 6), 0.5])


@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (0.3, -0.4), (2.0, 0.1), (-1.4, -1.0)])
def test_the_frame_is_right_handed_and_upright(yaw: float, pitch: float) -> None:
    axes = Camera(np.zeros(3), yaw, pitch, 1.0).axes
    assert np.allclose(axes @ axes.T, np.eye(3))
    assert np.isclose(np.linalg.det(axes), 1)
    assert np.isclose(axes[0, 1], 0)
    assert axes[1, 1] > 0


# --- meshes


def test_a_quarter_turn_takes_the_front_to_the_right() -> None:
    assert np.allclose(np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]) @ turn(np.pi / 2), [[1, 0, 0], [0, 0, -1], [0, 1, 0]])


def test_a_box_has_its_sides_outside() -> None:
    mesh = boxes(np.array([[-1.0, 0, -2]]), np.array([[1.0, 3, 2]]), [GREY])
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((corners.mean(1) - [0, 1.5, 0]) * normals > -1e-9).all()
    assert np.linalg.norm(normals, axis=1).sum() / 2 == pytest.approx(2 * (2 * 3 + 2 * 4 + 3 * 4))


def test_a_texture_stands_upright_on_the_front_of_a_box() -> None:
    texture = np.arange(12.0).reshape(2, 2, 3) / 12  # top left, top right; bottom left, bottom right
    mesh = boxes(np.zeros((1, 3)), np.ones((1, 3)), [texture])
    seen = {}
    for face, weights in itertools.product(range(12), itertools.permutations((0.8, 0.15, 0.05))):
        x, y, z = np.array(weights) @ mesh.vertices[mesh.faces[face]]
        if z == pytest.approx(1):
            seen[x > 0.5, y > 0.5] = mesh.colors(np.array([face]), np.array([weights]))[0]
    expected = {
        (False, True): texture[0, 0],
        (True, True): texture[0, 1],
        (False, False): texture[1, 0],
        (True, False): texture[1, 1],
    }
    assert seen.keys() == expected.keys()
    assert all(np.array_equal(seen[place], expected[place]) for place in seen)


def grid(count: int) -> Mesh:
    """A level square metre of small squares."""
    x, z = np.meshgrid(np.linspace(0, 1, count + 1), np.linspace(0, 1, count + 1))
    vertices = np.stack([x.ravel(), 0 * x.ravel(), z.ravel()], axis=1)
    corner = (np.arange(count)[:, None] * (count + 1) + np.arange(count)).ravel()
    quads = np.stack([corner, corner + 1, corner + count + 2, corner + count + 1], axis=1)
    faces = quads[:, [[0, 1, 2], [0, 2, 3]]].reshape(-1, 3)
    return Mesh(vertices, faces, np.zeros((len(faces), 3, 2)), np.zeros(len(faces), dtype=int), (GREY,))


def test_a_simplified_mesh_covers_the_same_with_fewer_faces() -> None:
    fine = grid(100)
    coarse = simplify(fine, most=2000)
    assert 0 < len(coarse.faces) <= 2000
    corners = coarse.vertices[coarse.faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1).sum() / 2
    assert area == pytest.approx(1, abs=0.1)
    assert len(coarse.coordinates) == len(coarse.materials) == len(coarse.faces)


def test_a_mesh_of_few_faces_stays_as_it_is() -> None:
    mesh = grid(3)
    assert simplify(mesh, most=18) is mesh
