"""UTKFace, and what all readers do with their arguments and with image files."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader

import mtlue
from mtlue._data import inspect_dataset
from mtlue.datasets import UTKFace
from properties import assert_protected

# Age, gender and race as in the names, and the suffixes that occur.
FACES = {
    "0_0_0_20170110213421286.jpg.chip.jpg": (0, 0, 0),
    "2_1_1_20170109192053357jpg.chip.jpg": (0, 1, 1),
    "3_1_2_20170109192053358.pg.chip.jpg": (1, 2, 1),
    "9_0_3_20170109192053359 .jpg.chip.jpg": (1, 3, 0),
    "10_0_4_20170109192053360.jpg.chip.jpg": (2, 4, 0),
    "19_1_0_20170109192053361.jpg.chip.jpg": (2, 0, 1),
    "29_1_0_20170109192053362.jpg.chip.jpg": (3, 0, 1),
    "30_1_0_20170109192053363.jpg.chip.jpg": (4, 0, 1),
    "49_1_0_20170109192053364.jpg.chip.jpg": (5, 0, 1),
    "59_0_0_20170109192053365.jpg.chip.jpg": (6, 0, 0),
    "69_0_0_20170109192053366.jpg.chip.jpg": (7, 0, 0),
    "70_0_0_20170109192053367.jpg.chip.jpg": (8, 0, 0),
    "116_1_4_20170109192053368.jpg.chip.jpg": (8, 4, 1),
}
WITHOUT_RACE = (
    "39_1_20170116174525125.jpg.chip.jpg",
    "61_1_20170109142408075.jpg.chip.jpg",
    "61_1_20170109150557335.jpg.chip.jpg",
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Thirteen faces, each of one colour, whose red is their place in `FACES`; and files that are no faces."""
    for index, name in enumerate([*FACES, *WITHOUT_RACE]):
        Image.new("RGB", (20, 20), (10 * index, 100, 200)).save(tmp_path / name, format="PNG")
    (tmp_path / "._0_0_0_20170110213421286.jpg.chip.jpg").write_bytes(b"left by an archive")
    (tmp_path / "readme.txt").write_text("text")
    return tmp_path


def names(dataset: UTKFace) -> list[str]:
    return [Path(path).name for path in dataset._paths]


def test_labels_come_from_the_names_and_pixels_from_the_files(root: Path) -> None:
    seen = {}
    for split in ("train", "test"):
        dataset = UTKFace(root, split=split)
        assert list(dataset.tasks.items()) == [
            ("age", mtlue.Classification(9)),
            ("race", mtlue.Classification(5)),
            ("gender", mtlue.Classification(2)),
        ]
        for name, (image, targets) in zip(names(dataset), dataset, strict=True):
            assert image.dtype == torch.float32
            expected = torch.tensor([10 * list(FACES).index(name), 100, 200])
            torch.testing.assert_close(image * 255, expected.float()[:, None, None].expand(3, 20, 20))
            assert list(targets) == ["age", "race", "gender"]
            assert all(target.dtype == torch.int64 and target.shape == () for target in targets.values())
            seen[name] = tuple(int(target) for target in targets.values())
    assert seen == FACES


def test_the_split_is_80_to_20_disjoint_and_the_seed_s(root: Path) -> None:
    train, test = UTKFace(root, split="train"), UTKFace(root, split="test")
    assert (len(train), len(test), train.split_seed) == (10, 3, 0)
    assert not set(names(train)) & set(names(test))
    assert set(names(train)) | set(names(test)) == set(FACES)
    assert names(UTKFace(root, split="test", split_seed=0)) == names(test)
    others = [UTKFace(root, split="test", split_seed=seed) for seed in (1, 2, 3)]
    assert [other.split_seed for other in others] == [1, 2, 3]
    assert len({frozenset(names(each)) for each in (test, *others)}) > 1


def test_the_split_does_not_depend_on_the_global_source_nor_change_it(root: Path) -> None:
    torch.rand(3)
    state = torch.get_rng_state()
    first = names(UTKFace(root, split="train"))
    assert torch.equal(torch.get_rng_state(), state)
    torch.rand(3)
    assert names(UTKFace(root, split="train")) == first


def test_files_without_a_race_are_skipped_counted_and_told(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mtlue"):
        dataset = UTKFace(root, split="train")
    assert dataset.skipped == WITHOUT_RACE
    assert [record.name for record in caplog.records] == ["mtlue"]
    assert "3 of 16 files skipped" in caplog.text
    assert "39_1_20170116174525125" in caplog.text
    assert repr(dataset) == "UTKFace(10 samples, split='train', image_size=None, split_seed=0, 3 files skipped, 3 tasks)"


def test_a_sound_folder_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "1_0_0_1.jpg.chip.jpg").touch()
    with caplog.at_level(logging.INFO, logger="mtlue"):
        assert UTKFace(tmp_path, split="test").skipped == ()
    assert caplog.records == []


@pytest.mark.parametrize("name", ["1_2_0_1.jpg", "1_0_5_1.jpg", "x_0_0_1.jpg", "1_0.jpg", "_0_0_1.jpg", "-1_0_0_1.jpg"])
def test_a_name_with_other_labels_is_skipped(root: Path, name: str) -> None:
    (root / name).touch()
    assert set(UTKFace(root, split="train").skipped) == {name, *WITHOUT_RACE}


def test_images_are_read_when_they_are_asked_for(root: Path) -> None:
    for path in root.iterdir():
        path.write_bytes(b"")
    dataset = UTKFace(root, split="train")
    with pytest.raises(ValueError, match=r"_0_.*chip\.jpg: cannot be read as an image .*susanqq"):
        dataset[0]
    Path(dataset._paths[0]).unlink()
    with pytest.raises(FileNotFoundError, match=r"_0_.*chip\.jpg: not found; get .*https://susanqq"):
        dataset[0]


def test_an_image_that_is_cut_short_is_named(root: Path) -> None:
    dataset = UTKFace(root, split="test")
    path = Path(dataset._paths[1])
    Image.effect_noise((64, 64), 50).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:800])
    with pytest.raises(ValueError, match=f"{path.name}: cannot be read as an image .*truncated"):
        dataset[1]


def test_the_folder_that_holds_the_archive_s_own_will_do(root: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outer = tmp_path_factory.mktemp("outer")
    (outer / "UTKFace").symlink_to(root)
    assert names(UTKFace(str(outer), split="train")) == names(UTKFace(root, split="train"))


@pytest.mark.parametrize(("image_size", "size"), [(6, (6, 6)), ((5, 8), (5, 8)), ([4, 4], (4, 4)), (None, (20, 20))])
def test_images_get_the_size_that_is_asked_for(root: Path, image_size: Any, size: tuple[int, int]) -> None:
    dataset = UTKFace(root, split="train", image_size=image_size)
    assert dataset[0][0].shape == (3, *size)
    assert dataset.image_size == (None if image_size is None else size)


def test_resizing_is_antialiased_and_stays_in_range(tmp_path: Path) -> None:
    image = Image.new("L", (32, 32))
    image.putdata([255 * (column % 2) for _ in range(32) for column in range(32)])
    image.save(tmp_path / "1_0_0_1.jpg", format="PNG")
    Image.new("L", (31, 31), 255).save(tmp_path / "1_0_0_2.jpg", format="PNG")
    sets = [UTKFace(tmp_path, split=split, image_size=8) for split in ("train", "test")]
    stripes, white = sorted((image for each in sets for image, _ in each), key=lambda image: float(image.mean()))
    # Without antialiasing only two pixels of each four would count.
    torch.testing.assert_close(stripes[:, :, 2:-2], torch.full((3, 8, 4), 0.5), atol=1e-3, rtol=0)
    torch.testing.assert_close(white, torch.ones(3, 8, 8))
    assert white.max() <= 1


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"split": "val"}, ValueError, "split: expected one of 'train', 'test', got 'val'"),
        ({"split": 0}, TypeError, "split: expected a string, got 0"),
        ({"image_size": 0}, ValueError, "image_size: expected at least 1 pixel, got 0"),
        ({"image_size": (8,)}, TypeError, r"image_size: expected an int, \(height, width\) or None, got \(8,\)"),
        ({"image_size": 8.0}, TypeError, "image_size: expected an int"),
        ({"image_size": True}, TypeError, "image_size: expected an int"),
        ({"split_seed": -1}, ValueError, "split_seed: expected at least 0, got -1"),
        ({"split_seed": "0"}, TypeError, "split_seed: expected an int"),
        ({"root": 3}, TypeError, "root: expected the path of a folder, got int"),
        ({"root": "nowhere"}, FileNotFoundError, "root: nowhere is not a folder; get .*https://susanqq.github.io/UTKFace"),
    ],
)
def test_wrong_arguments_are_named(root: Path, arguments: dict[str, Any], error: type[Exception], words: str) -> None:
    complete: dict[str, Any] = {"root": root, "split": "train", **arguments}
    with pytest.raises(error, match=words):
        UTKFace(complete.pop("root"), **complete)


def test_a_folder_without_faces_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").touch()
    with pytest.raises(FileNotFoundError, match=r"found no image named \[age\]_\[gender\]_\[race\].*susanqq"):
        UTKFace(tmp_path, split="train")


def test_worker_processes_give_the_same_samples(root: Path) -> None:
    dataset = UTKFace(root, split="train", image_size=4)
    copy = pickle.loads(pickle.dumps(dataset))
    # Two batches, and labels that do not hang on to the table of all labels.
    batches = list(DataLoader(copy, batch_size=5, num_workers=2, generator=torch.Generator()))
    images = torch.cat([images for images, _ in batches])
    ages = torch.cat([targets["age"] for _, targets in batches])
    assert torch.equal(images, torch.stack([image for image, _ in dataset]))
    assert ages.tolist() == [int(targets["age"]) for _, targets in dataset]
    assert dataset[0][1]["age"].untyped_storage().nbytes() == 3 * 8


def test_the_set_can_be_protected_as_it_is(root: Path) -> None:
    dataset = UTKFace(root, split="train", image_size=8)
    inspection = inspect_dataset(dataset, dataset.tasks)
    assert (inspection.length, inspection.channels, inspection.typical_size) == (10, 3, (8, 8))
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 16), Split())
    generator = mtlue.UEGenerator(dataset.tasks, (3, 8, 8), width=2)
    safe = mtlue.protect(
        dataset, generator=generator, surrogate=net, loss=mtlue.EM(), epochs=1, batch_size=5, device="cpu", progress=False
    )
    assert safe.tasks == dataset.tasks
    assert_protected(safe, dataset)


class Split(nn.Module):
    """Nine logits of age, five of race and two of gender."""

    def forward(self, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        return dict(zip(("age", "race", "gender"), logits.split([9, 5, 2], dim=1), strict=True))
