"""The way back from an exported set to a folder with a table: bits, maps, and the names of the classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import to_pil_image

import mtlue
from mtlue._tasks import resolve_tasks
from mtlue.datasets import ImageTable
from photo_folder import labels_of, write_photos, write_table
from properties import assert_protected


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_photos(tmp_path)


def test_an_exported_set_keeps_the_names_and_numbers_of_its_classes(root: Path, make_generator: Any, tmp_path: Path) -> None:
    # Nobody is "White", one label is missing, and the names of floors are numbers of others.
    floors = ["2", "0", "1", "12"]
    write_table(root, "photo,race,floor,age", "a.png,Indian,1,3", "sub/b.png,Asian,0,0", "c.png,,2,1", "d.png,Indian,1,2")
    clean = ImageTable(root, channels=3, classes={"race": ["Asian", "White", "Indian"], "floor": floors})
    generator = make_generator(clean.tasks, (3, 4, 6), trained=True)
    mtlue.protect(clean, generator=generator, progress=False, device="cpu").export(tmp_path / "out")
    back = ImageTable(tmp_path / "out")
    assert (back.tasks, back.classes) == (clean.tasks, clean.classes)
    assert back.classes == {"race": ["Asian", "White", "Indian"], "floor": floors}
    assert labels_of(back) == labels_of(clean) == {"race": [2, 0, -1, 2], "floor": [2, 1, 0, 2], "age": [3, 0, 1, 2]}
    # A test set by names, and the same table again, are numbered in the same way.
    (root / "test.csv").write_text("photo,race,floor,age\nc.png,White,12,1\n")
    test = ImageTable(root, table="test.csv", tasks=back.tasks, classes=back.classes)
    assert labels_of(test) == {"race": [1], "floor": [3], "age": [1]}
    again = ImageTable(tmp_path / "out", tasks=back.tasks, classes=back.classes)
    assert labels_of(again) == labels_of(back)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[1",
        "[" * 100_000,
        '["Asian"]',
        '{"lit": "no"}',
        '{"lit": ["no"]}',
        '{"lit": ["no", 1]}',
        '{"lit": ["no", "no"]}',
        '{"race": ["a", "b", "c"]}',
    ],
)
def test_a_file_of_names_that_do_not_fit_is_left_alone(root: Path, content: str) -> None:
    before = ImageTable(root)
    (root / "classes.json").write_text(content)
    after = ImageTable(root)
    assert (after.tasks, after.classes, labels_of(after)) == (before.tasks, before.classes, labels_of(before))


def test_a_file_of_names_gives_way_to_the_arguments(root: Path) -> None:
    (root / "classes.json").write_text('{"lit": ["no", "yes"], "age": ["a", "b", "c", "d", "e"]}')
    assert ImageTable(root).classes["lit"] == ["no", "yes"]
    assert ImageTable(root, classes={"lit": ["dark", "light"]}).classes["lit"] == ["dark", "light"]
    assert ImageTable(root).tasks["age"] == mtlue.Classification(5)
    nine = ImageTable(root, tasks={"age": 9})
    assert (nine.tasks, nine.classes) == ({"age": mtlue.Classification(9)}, {})


def test_names_in_another_order_than_that_of_the_numbers(root: Path) -> None:
    (root / "classes.json").write_text('{"lit": ["no", "yes"]}')
    with pytest.raises(ValueError, match=r"classes: 'lit': the numbers in the table stand for \['no', 'yes'\]"):
        ImageTable(root, classes={"lit": ["yes", "no"]})


def test_names_of_digits_are_names(tmp_path: Path) -> None:
    for index in range(3):
        to_pil_image(torch.zeros(1, 4, 4)).save(tmp_path / f"{index}.png")

    def read(*cells: str, names: list[str]) -> Any:
        lines = [f"{index}.png,{cell}" for index, cell in enumerate(cells)]
        (tmp_path / "labels.csv").write_text("\n".join(["file,level", *lines]))
        return [int(targets["level"]) for _, targets in ImageTable(tmp_path, classes={"level": names})]

    assert read("1", "2", "", names=["1", "2"]) == [0, 1, -1]
    with pytest.raises(ValueError, match="'0' is not one of the classes"):
        read("1", "2", "0", names=["1", "2", "3"])


@pytest.mark.parametrize("channels", [1, 3])
def test_an_exported_set_comes_back_bit_by_bit(canvases: Any, make_generator: Any, tmp_path: Path, channels: int) -> None:
    tasks = {"shoe": 2, "front": 3}
    clean = [(image.expand(channels, -1, -1), dict(target)) for image, target in canvases]
    clean[3][1]["front"] = -1
    generator = make_generator(tasks, (channels, 16, 16), trained=True, gain=100.0)
    safe = mtlue.protect(clean, tasks=tasks, generator=generator, progress=False, device="cpu")
    safe.export(tmp_path / "out")
    # The names of the files are all different, and the last class of "front" occurs nowhere.
    back = ImageTable(tmp_path / "out", tasks=safe.tasks)
    assert back.tasks == safe.tasks
    assert len(back) == len(safe)
    assert_protected(back, clean)
    assert all(torch.equal(image, protected) for (image, _), (protected, _) in zip(back, safe, strict=True))


def test_exported_label_maps_and_many_channels_come_back(make_generator: Any, tmp_path: Path) -> None:
    tasks = resolve_tasks({"scene": 3, "depth": mtlue.Depth(), "parts": mtlue.Segmentation(4)})
    random = torch.Generator().manual_seed(0)
    clean = []
    for index in range(3):
        parts = torch.randint(-1, 4, (8, 8), generator=random)
        target = {"scene": index, "depth": torch.rand(1, 8, 8, generator=random), "parts": parts}
        clean.append((torch.rand(5, 8, 8, generator=random), target))
    generator = make_generator(tasks, (5, 8, 8), trained=True, gain=100.0)
    safe = mtlue.protect(clean, tasks=tasks, generator=generator, progress=False, device="cpu")
    safe.export(tmp_path, format="npy")
    back = ImageTable(tmp_path, tasks=tasks)
    for (image, targets), (protected, given) in zip(back, safe, strict=True):
        assert torch.equal(image, protected)
        assert list(targets) == list(tasks)
        assert int(targets["scene"]) == given["scene"]
        for name in ("depth", "parts"):
            assert torch.equal(targets[name], given[name])
    small = ImageTable(tmp_path, tasks=tasks, image_size=4)[0]
    assert [tuple(small[1][name].shape) for name in tasks] == [(), (1, 4, 4), (4, 4)]
    np.save(tmp_path / "labels" / "depth" / "000000.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"000000\.npy: cannot be read as a NumPy file"):
        back[0]
