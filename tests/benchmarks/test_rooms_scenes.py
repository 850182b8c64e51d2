"""The rendered rooms: what is made up, the layout of NYUv2, and what rays see."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from made_furniture import GREY, MODELS, NAMES, archive, box
from mtlue.datasets import NYUv2
from sets.make_rooms import PARTS, main, render_room, write
from sets.rooms_camera import Camera
from sets.rooms_classes import CLASSES
from sets.rooms_mesh import boxes
from sets.rooms_models import read_furniture
from sets.rooms_patterns import books, ceiling_pattern, floor_pattern, picture, pile, wall_pattern
from sets.rooms_render import Stage, View, find_camera, holes
from sets.rooms_scene import furnish
from sets.rooms_things import Model, Room, Thing, level_below

# --- what is made up


def test_patterns_give_colors_of_points() -> None:
    points = np.random.default_rng(0).uniform(0, 4, (500, 2))
    for number, pattern in itertools.product(range(8), (wall_pattern, floor_pattern, ceiling_pattern)):
        colors = pattern(np.random.default_rng(number))(points)
        assert colors.shape == (500, 3)
        assert colors.min() >= 0
        assert colors.max() < 1.5
        assert np.array_equal(colors, pattern(np.random.default_rng(number))(points))


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
    pytest.importorskip("embreex", reason="needs the library embreex, which no extra brings: pip install embreex")


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
