"""The rendered rooms: geometry, models as they are written, parts that share no model, and the layout of NYUv2."""

from __future__ import annotations

import io
import itertools
import random
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mtlue.datasets import NYUv2
from sets.make_rooms import PARTS, main, render_room, write
from sets.rooms_camera import Camera
from sets.rooms_classes import CLASSES, in_test, kind_of
from sets.rooms_furniture import Entry, read_catalogues, read_model
from sets.rooms_mesh import Mesh, boxes, plain, simplify, turn
from sets.rooms_models import read_furniture
from sets.rooms_patterns import books, ceiling_pattern, floor_pattern, picture, pile, wall_pattern
from sets.rooms_render import Stage, View, find_camera, holes
from sets.rooms_scene import furnish
from sets.rooms_things import Model, Room, Thing, level_below

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
            seen[x > 0.5, y > 0.5] = mesh.colours(np.array([face]), np.array([weights]))[0]
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


# --- models of archives

OBJ = """mtllib chair.mtl
v 0 0 0
v 2 0 0
v 2 0 4
v 0 0 4
v 0 8 0
vt 0.25 0.75
vt 0.75 0.25
usemtl wood
f 1/1 2/2 3/1 4/2
usemtl glass
f -5 -4 -1
"""
MTL = "newmtl wood\nKd 1 1 1\nmap_Kd Wood.PNG\n\nnewmtl glass\nKd 0.2 0.4 0.6\nd 0.1\n"
CATALOGUE = """# made up
id#1=made#chair
name#1=Chair \\u00e0 la mode
category#1=Living room
model#1=/made/chair/chair.obj
width#1=50
depth#1=100.0
height#1=25
elevation#1=30
creator#1=Nobody
name#12=Ball
model#12=/made/ball/ball.obj
width#12=20
depth#12=20
height#12=20
modelRotation#12=1 0 0 0 0 1 0 -1 0
"""


def archive(folder: Path, files: Mapping[str, str | bytes], name: str = "made.sh3f") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / name, "w") as file:
        for path, text in files.items():
            file.writestr(path, text)
    return folder


@pytest.fixture
def made(tmp_path: Path) -> Path:
    image = io.BytesIO()
    Image.fromarray(np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], dtype=np.uint8)).save(image, "png")
    files = {
        "PluginFurnitureCatalog.properties": CATALOGUE,
        "made/chair/chair.obj": OBJ,
        "made/chair/chair.mtl": MTL,
        "made/chair/wood.png": image.getvalue(),
        "made/ball/ball.obj": "v 0 0 0\nv 1 0 0\nv 0 0 1\nv 0 2 0\nf 1//1 2//1 4//1\nf 1 3 4\n",
    }
    return archive(tmp_path, files)


def test_a_catalogue_is_read_in_metres_and_order(made: Path) -> None:
    ball, chair = read_catalogues(made)
    assert (chair.key, chair.name, chair.category, chair.creator) == ("made/chair", "Chair à la mode", "Living room", "Nobody")
    assert chair.size == pytest.approx((0.5, 0.25, 1.0))
    assert chair.elevation == pytest.approx(0.3)
    assert (ball.key, ball.elevation, ball.creator) == ("made/ball", 0.0, "unknown")


def test_a_folder_without_archives_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no \.sh3f archive in .*: install the Debian package sweethome3d-furniture"):
        read_catalogues(tmp_path)


def test_a_model_has_its_size_and_colours_and_what_is_transparent_is_left_out(made: Path) -> None:
    _, chair = read_catalogues(made)
    with zipfile.ZipFile(chair.archive) as file:
        mesh = read_model(chair, file)
    # The quad is two triangles; it alone is seen, level, and as wide and deep as the catalogue says.
    assert mesh.faces.shape == (2, 3)
    assert np.allclose(mesh.vertices.min(0), [-0.25, 0, -0.5])
    assert np.allclose(mesh.vertices.max(0), [0.25, 0, 0.5])
    at_corners = mesh.colours(np.array([0, 0]), np.array([[1.0, 0, 0], [0, 1, 0]]))
    assert np.allclose(at_corners, [[1, 0, 0], [1, 1, 1]])  # a quarter in from the top left, and from the bottom right


def test_panes_are_kept_in_the_colour_of_the_sky(made: Path) -> None:
    _, chair = read_catalogues(made)
    with zipfile.ZipFile(chair.archive) as file:
        mesh = read_model(chair, file, panes=True)
    assert mesh.faces.shape == (3, 3)
    assert np.allclose(mesh.vertices.max(0), [0.25, 0.25, 0.5])
    colour = mesh.colours(np.array([2]), np.full((1, 3), 1 / 3))[0]
    assert colour[2] > colour[0] > 0.7


def test_a_model_is_turned_upright(made: Path) -> None:
    ball, _ = read_catalogues(made)
    with zipfile.ZipFile(ball.archive) as file:
        mesh = read_model(ball, file)
    # (x, y, z) becomes (x, z, -y): the vertex that was two high lies at the back, the one that was in front is the top.
    assert mesh.vertices[3] == pytest.approx([-0.1, 0, -0.1])
    assert mesh.vertices[2] == pytest.approx([-0.1, 0.2, 0.1])


def test_a_model_without_triangles_is_refused(made: Path) -> None:
    ball, _ = read_catalogues(made)
    archive(made, {ball.path: "v 0 0 0\n"}, "empty.zip")
    with zipfile.ZipFile(made / "empty.zip") as file, pytest.raises(ValueError, match="made/ball has no triangle to be seen"):
        read_model(ball, file)


# --- classes and parts


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Child bed", "bed side"),
        ("Bedside table", "furniture side"),
        ("Corner sofa", "sofa side"),
        ("Armchair", "chair floor"),
        ("Piano bench", "chair floor"),
        ("Coffee table", "table floor"),
        ("Desk", "table side"),
        ("Desk lamp", "objects top"),
        ("Tablet", "objects top"),
        ("TV stand", "furniture side"),
        ("TV 16:9", "tv top"),
        ("TV remote control", "objects top"),
        ("Wall flat TV", "tv wall"),
        ("Indoor plant", "objects top"),
        ("Exterior door", "wall door"),
        ("Double-hung window", "window wall"),
        ("Sliding window", "window door"),
        ("Oriental rug", "floor rug"),
        ("Doormat", "floor rug"),
        ("Bookcase", "furniture side"),
        ("Book", "books top"),
        ("Frame Chambord", "picture top"),
        ("Hanging light", "objects ceiling"),
    ],
)
def test_names_decide_the_kind(name: str, kind: str) -> None:
    assert kind_of(entry(name)) == kind


def test_what_nothing_is_known_of_is_an_object_by_its_size() -> None:
    assert kind_of(entry("Thing", size=(0.3, 0.7, 0.3))) == "objects floor"
    assert kind_of(entry("Thing", size=(0.05, 0.05, 0.05))) is None
    assert kind_of(entry("Thing", size=(3.0, 1.0, 1.0))) is None
    assert kind_of(entry("Thing", elevation=1.0)) is None
    assert kind_of(entry("Chair", category="Exterior")) is None
    assert kind_of(entry("Washbasin", elevation=0.4)) == "objects wall"


def test_a_look_at_the_models_overrules_their_names() -> None:
    opened = replace(entry("Opened convertible sofa BZ"), key="scopia/convertible-sofa-BZ-opened")
    assert kind_of(opened) == "bed side"
    assert kind_of(replace(entry("Full bookcase"), key="katorlegaz/full-bookcase")) is None


def test_parts_share_no_model_and_each_kind_of_many_is_in_both() -> None:
    models = [
        (replace(entry(f"{kind} {n}", size=(0.1 * n + 0.1, 1, 1)), key=f"{kind}/{n}"), kind)
        for kind in "abc"
        for n in range(10)
    ]
    models += [(entry("one"), "d"), (entry("two", size=(2, 2, 2)), "e"), (entry("three", size=(3, 3, 3)), "e")]
    test = in_test(models)
    for kind in "abc":
        assert sum(key.startswith(f"{kind}/") for key in test) == 3
    assert "made/one" not in test
    assert len({"made/two", "made/three"} & test) == 1
    random.Random(0).shuffle(models)
    assert in_test(models) == test


def test_models_of_one_size_stay_together() -> None:
    models = [(replace(entry("Sofa", size=(1 + n // 2, 1, 1)), key=f"sofa/{n}"), "sofa side") for n in range(40)]
    test = in_test(models)
    assert len(test) == 12
    assert all((f"sofa/{n}" in test) == (f"sofa/{n + 1}" in test) for n in range(0, 40, 2))


@pytest.mark.skipif(not FURNITURE.is_dir(), reason="the Debian package sweethome3d-furniture is not installed")
def test_each_class_of_the_furniture_is_in_both_parts() -> None:
    kinds = {found: kind for found in read_catalogues(FURNITURE) if (kind := kind_of(found)) is not None}
    test = in_test(kinds.items())
    classes: dict[bool, set[str]] = {True: set(), False: set()}
    for found, kind in kinds.items():
        classes[found.key in test].add(kind.split()[0])
    made_up = {"ceiling", "picture"}  # there are models of frames too, but of one size alone
    assert classes[True] | made_up == classes[False] | made_up == set(CLASSES)
    assert 350 < len(kinds) < 600
    assert 0.25 < len(test) / len(kinds) < 0.35


# --- what is made up


def test_patterns_give_colours_of_points() -> None:
    points = np.random.default_rng(0).uniform(0, 4, (500, 2))
    for number, pattern in itertools.product(range(8), (wall_pattern, floor_pattern, ceiling_pattern)):
        colours = pattern(np.random.default_rng(number))(points)
        assert colours.shape == (500, 3)
        assert colours.min() >= 0
        assert colours.max() < 1.5
        assert np.array_equal(colours, pattern(np.random.default_rng(number))(points))


def test_books_and_pictures_have_the_size_asked_for() -> None:
    for number in range(8):
        row = Model(books(np.random.default_rng(number), width=0.5, height=0.25, depth=0.2), "books top")
        assert row.mesh.vertices[:, 1].min() == 0
        assert (row.size <= np.array([0.5, 0.25, 0.2]) + 1e-9).all()
        assert row.size[0] > 0.4
        stack = Model(pile(np.random.default_rng(number), count=3), "books top")
        assert len(stack.mesh.faces) == 36
        assert 3 * 0.015 <= stack.size[1] <= 3 * 0.05
        assert Model(picture(np.random.default_rng(number)), "picture wall").size[2] < 0.05


def test_holes_are_few_and_the_same_for_every_size() -> None:
    shares = []
    for number in range(200):
        small = holes(np.random.default_rng(number), 32)
        # The middle of a pixel is the middle of the middle one of three.
        assert np.array_equal(small, holes(np.random.default_rng(number), 96)[1::3, 1::3])
        shares.append(small.mean())
    assert 0.01 < np.mean(shares) < 0.04
    assert max(shares) < 0.3


# --- the layout


def test_what_is_written_is_read_by_nyuv2(tmp_path: Path) -> None:
    source = np.random.default_rng(0)
    normal = source.normal(size=(6, 6, 3))
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    normal[0] = 0
    depth = source.uniform(0.5, 5, (6, 6, 1))
    depth[0] = 0
    view = View(source.integers(256, size=(6, 6, 3)) / 255, source.integers(-1, 13, (6, 6)), depth, normal)
    for part in PARTS:
        write(view, tmp_path / part, 0)
    # The images of the third part are read as training images of a folder that has them.
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "train").symlink_to(tmp_path / "pretrain")
    for root, split in ((tmp_path, "train"), (tmp_path, "test"), (tmp_path / "other", "train")):
        image, targets = NYUv2(root, split=split)[0]
        assert torch.equal((image * 255).round(), torch.from_numpy(view.image * 255).permute(2, 0, 1).round().float())
        assert torch.equal(image, ((image * 255).round() / 255))
        assert torch.equal(targets["segmentation"], torch.from_numpy(view.label))
        assert torch.allclose(targets["depth"], torch.from_numpy(depth).permute(2, 0, 1).float())
        assert torch.allclose(targets["normals"], torch.from_numpy(normal).permute(2, 0, 1).float())


# --- rooms, which take embreex


@pytest.fixture
def embreex() -> None:
    pytest.importorskip("embreex")


def empty(*things: Thing) -> Room:
    def white(points: np.ndarray) -> np.ndarray:
        return np.ones((len(points), 3))

    return Room(np.array([4.0, 2.5, 5.0]), [white] * 6, things, np.array([[2.0, 2.2, 2.5]]), np.ones((1, 3)), 0.5)


@pytest.mark.usefixtures("embreex")
@pytest.mark.parametrize(("yaw", "distance"), [(0.0, 2.0), (np.pi / 2, 1.0), (np.pi, 3.0), (-np.pi / 2, 3.0)])
def test_a_bare_wall_is_measured_exactly(yaw: float, distance: float) -> None:
    camera = Camera(np.array([1.0, 1.25, 2.0]), yaw, 0.0, 0.4)
    view = Stage(empty()).view(camera, 8)
    assert np.allclose(view.depth, distance, atol=1e-5)
    assert np.allclose(view.normal, [0, 0, 1], atol=1e-5)
    assert (view.label == CLASSES.index("wall")).all()


@pytest.mark.usefixtures("embreex")
def test_the_floor_and_the_ceiling_are_measured_as_worked_out() -> None:
    for pitch, height, label, up in ((-np.pi / 6, 1.0, "floor", 1.0), (np.pi / 6, 1.5, "ceiling", -1.0)):
        camera = Camera(np.array([2.0, 1.0, 4.5]), 0.0, pitch, 0.02)
        view = Stage(empty()).view(camera, 3)
        assert view.depth[1, 1, 0] == pytest.approx(2 * height, rel=1e-5)  # by the sine of thirty degrees
        assert view.normal[1, 1] == pytest.approx([0, up * np.cos(np.pi / 6), 0.5], abs=1e-5)
        assert view.label[1, 1] == CLASSES.index(label)


@pytest.mark.usefixtures("embreex")
def test_a_thing_hides_the_wall_behind_it() -> None:
    sofa = Thing(box(1.0, 0.8, 0.5, "sofa side"), np.array([2.0, 0.0, 0.5]), 0.0, np.ones(3))
    view = Stage(empty(sofa)).view(Camera(np.array([2.0, 0.5, 3.0]), 0.0, 0.0, np.pi / 2), 9)
    assert view.label[4, 4] == CLASSES.index("sofa")
    assert view.depth[4, 4, 0] == pytest.approx(3.0 - 0.75, rel=1e-5)
    # Two pixels from the upper edge a ray rises by 4/9: it passes a metre above the sofa's middle and meets the wall.
    assert view.label[2, 4] == CLASSES.index("wall")
    assert view.depth[2, 4, 0] == pytest.approx(3.0, rel=1e-5)


@pytest.mark.usefixtures("embreex")
def test_rays_that_hit_nothing_have_no_label_and_no_reading() -> None:
    view = Stage(empty()).view(Camera(np.array([2.0, 1.0, 9.0]), np.pi, 0.0, 1.0), 4)
    assert (view.label == -1).all()
    assert not view.depth.any()
    assert not view.normal.any()


@pytest.mark.usefixtures("embreex")
def test_a_place_is_found_on_top_and_on_a_board_with_room_above() -> None:
    lows = np.array([[-0.5, 0.0, -0.2], [-0.5, 0.5, -0.2], [-0.5, 1.0, -0.2]])
    shelf = Model(boxes(lows, lows + np.array([1.0, 0.02, 0.4]), [GREY] * 3), "furniture side")
    low, high = np.array([0.2, 0.3, 0.2]), np.array([0.2, 0.6, 0.2])
    assert level_below(shelf.caster, 0, 0, 1.5, high) == pytest.approx(1.02, abs=1e-5)
    assert level_below(shelf.caster, 0, 0, 0.9, low) == pytest.approx(0.52, abs=1e-5)
    assert level_below(shelf.caster, 0, 0, 0.9, high) is None  # it would stick through the board above
    assert level_below(shelf.caster, 0.45, 0, 1.5, low) is None  # it would hang over the edge


@pytest.mark.usefixtures("embreex")
def test_furniture_stands_in_the_room_and_nothing_in_another() -> None:
    kinds = set()
    for number in range(25):
        room = furnish(MODELS, np.random.default_rng(number))
        standing = []
        for thing in room.things:
            kinds.add(thing.model.kind)
            low, high = thing.floor
            assert (low > -1e-6).all()
            assert (high < room.size[[0, 2]] + 1e-6).all()
            assert thing.position[1] + thing.model.size[1] <= room.size[1]
            if thing.model.kind.endswith(("floor", "side")):
                assert thing.position[1] == 0
                standing.append((low, high))
            elif thing.model.kind.endswith("top"):
                assert thing.position[1] > 0.1
        for one, other in itertools.combinations(standing, 2):
            assert (one[1] <= other[0]).any() or (one[0] >= other[1]).any()
    assert kinds >= {*MODELS, "picture wall", "books top"}


@pytest.mark.usefixtures("embreex")
def test_what_stands_on_furniture_touches_it() -> None:
    for number in range(10):
        room = furnish(MODELS, np.random.default_rng(number))
        boards = [thing for thing in room.things if thing.model.kind.split()[0] in {"table", "furniture"}]
        for thing in room.things:
            if thing.model.kind.endswith("top"):
                middle = thing.position[[0, 2]]
                under = [board for board in boards if (board.floor[0] <= middle).all() and (middle <= board.floor[1]).all()]
                assert any(thing.position[1] == pytest.approx(board.model.size[1], abs=0.002) for board in under)


@pytest.mark.usefixtures("embreex")
def test_a_room_depends_on_its_arguments_alone() -> None:
    def room(seed: int = 1, part: str = "train", number: int = 2, size: int = 16) -> View:
        return render_room(MODELS, seed=seed, part=part, number=number, size=size)

    first, again = room(), room()
    for kind in ("image", "label", "depth", "normal"):
        assert np.array_equal(getattr(first, kind), getattr(again, kind))
    for other in (room(seed=2), room(part="val"), room(part="pretrain"), room(number=3)):
        assert not np.array_equal(first.image, other.image)
    # The same room, whatever the size; an edge may fall to another side in single precision.
    assert (room(size=48).label[1::3, 1::3] == first.label).mean() > 0.98


@pytest.mark.usefixtures("embreex")
def test_a_view_is_of_the_ranges_that_it_says() -> None:
    for number in range(4):
        view = render_room(MODELS, seed=0, part="train", number=number, size=24)
        assert np.array_equal(view.image, np.round(view.image * 255) / 255)
        assert view.image.min() >= 0
        assert view.image.max() <= 1
        assert 0.2 < view.image.mean() < 0.8
        read = view.depth[..., 0] > 0
        assert view.depth.max() < 10
        assert np.allclose(np.linalg.norm(view.normal, axis=-1), read, atol=1e-5)
        # Each faces its ray, which from the middle of the image leads along -z.
        steps = (np.arange(24) + 0.5) / 12 - 1
        room = furnish(MODELS, source := np.random.default_rng([0, 0, number]))
        rays = np.tan(find_camera(Stage(room), source).field / 2) * np.stack(np.meshgrid(steps, -steps), axis=-1)
        assert ((view.normal[..., :2] * rays).sum(-1) - view.normal[..., 2] <= 1e-5).all()


def folder_of_models(folder: Path) -> Path:
    """An archive with two boxes of each name in other sizes, one for each part."""
    lines, files = [], {}
    for number, (name, again) in enumerate(itertools.product(NAMES, (0, 1))):
        scale = 1 + 0.1 * again
        width, height, depth = NAMES[name]
        key = f"made/{name}{again}"
        lines += [f"name#{number}={name}", f"model#{number}=/{key}/it.obj", f"creator#{number}=Maker {number}"]
        sizes = {"width": width, "height": height, "depth": depth}
        lines += [f"{side}#{number}={100 * scale * length}" for side, length in sizes.items()]
        mesh = box(1, 1, 1, "objects top").mesh
        files[f"{key}/it.obj"] = "".join(f"v {x} {y} {z}\n" for x, y, z in mesh.vertices) + "".join(
            f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in mesh.faces
        )
    return archive(folder, {"PluginFurnitureCatalog.properties": "\n".join(lines), "LICENSE.TXT": "Free to all.", **files})


def test_furniture_is_shared_out_without_a_model_in_both(tmp_path: Path) -> None:
    furniture = read_furniture(folder_of_models(tmp_path))
    assert {kind: len(models) for kind, models in furniture.train.items()} == dict.fromkeys(MODELS, 1)
    assert {kind: len(models) for kind, models in furniture.test.items()} == dict.fromkeys(MODELS, 1)
    for kind in MODELS:
        assert furniture.train[kind][0].size[0] != furniture.test[kind][0].size[0]
    # Half of what is in a wall is outdoors.
    assert furniture.train["window wall"][0].size[2] == pytest.approx(0.08)


def test_only_the_test_images_show_the_models_of_the_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: dict[str, set[tuple[str, float]]] = {part: set() for part in PARTS}

    def render(models: Mapping[str, Sequence[Model]], *, part: str, number: int, seed: int, size: int) -> View:
        shown[part] |= {(model.kind, model.size[0]) for several in models.values() for model in several}
        return View(np.zeros((2, 2, 3)), np.zeros((2, 2), dtype=int), np.zeros((2, 2, 1)), np.zeros((2, 2, 3)))

    monkeypatch.setattr("sets.make_rooms.render_room", render)
    models = folder_of_models(tmp_path / "models")
    few = ["--train", "1", "--test", "1", "--pretrain", "1"]
    monkeypatch.setattr(sys, "argv", ["make_rooms.py", *few, "--output", str(tmp_path / "set"), "--furniture", str(models)])
    main()
    assert shown["train"] == shown["pretrain"]
    assert len(shown["val"]) == len(shown["train"]) == len(NAMES)
    assert shown["val"].isdisjoint(shown["train"])


@pytest.mark.usefixtures("embreex")
def test_the_command_writes_the_same_set_twice_with_its_credits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models = folder_of_models(tmp_path / "models")
    for name in ("one", "two"):
        counts = ["--size", "12", "--train", "3", "--test", "2", "--pretrain", "1", "--seed", "4"]
        outputs = ["--output", str(tmp_path / name), "--sheets", str(tmp_path / name)]
        monkeypatch.setattr(sys, "argv", ["make_rooms.py", *counts, *outputs, "--furniture", str(models)])
        main()
    written = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(written) == 4 * 6 + 3
    for path in written:
        assert (tmp_path / "one" / path).read_bytes() == (tmp_path / "two" / path).read_bytes()
    assert (len(NYUv2(tmp_path / "one", split="train")), len(NYUv2(tmp_path / "one", split="test"))) == (3, 2)
    text = (tmp_path / "one" / "CREDITS.txt").read_text()
    assert "Free to all." in text
    assert "made/Bed0: Bed, by Maker 0" in text
    with Image.open(tmp_path / "one" / "rooms-sheet.png") as sheet:
        assert sheet.size[0] == 2 * 4 * 12 * 2 + 24  # two views of four maps side by side, each twice as large
