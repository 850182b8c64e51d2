"""The furniture of the rendered rooms: how models are read, which class they are, and parts that share none."""

from __future__ import annotations

import io
import random
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from made_furniture import FURNITURE, archive, entry
from sets.rooms_classes import CLASSES, in_test, kind_of
from sets.rooms_furniture import read_catalogues, read_model

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


def test_a_model_has_its_size_and_colors_and_what_is_transparent_is_left_out(made: Path) -> None:
    _, chair = read_catalogues(made)
    with zipfile.ZipFile(chair.archive) as file:
        mesh = read_model(chair, file)
    # The quad is two triangles; it alone is seen, level, and as wide and deep as the catalogue says.
    assert mesh.faces.shape == (2, 3)
    assert np.allclose(mesh.vertices.min(0), [-0.25, 0, -0.5])
    assert np.allclose(mesh.vertices.max(0), [0.25, 0, 0.5])
    at_corners = mesh.colors(np.array([0, 0]), np.array([[1.0, 0, 0], [0, 1, 0]]))
    assert np.allclose(at_corners, [[1, 0, 0], [1, 1, 1]])  # a quarter in from the top left, and from the bottom right


def test_panes_are_kept_in_the_color_of_the_sky(made: Path) -> None:
    _, chair = read_catalogues(made)
    with zipfile.ZipFile(chair.archive) as file:
        mesh = read_model(chair, file, panes=True)
    assert mesh.faces.shape == (3, 3)
    assert np.allclose(mesh.vertices.max(0), [0.25, 0.25, 0.5])
    color = mesh.colors(np.array([2]), np.full((1, 3), 1 / 3))[0]
    assert color[2] > color[0] > 0.7


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


@pytest.mark.skipif(not FURNITURE.is_dir(), reason="needs the Debian package sweethome3d-furniture")
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
