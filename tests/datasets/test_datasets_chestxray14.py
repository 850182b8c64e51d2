"""ChestX-ray14."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from PIL import Image

import mtlue
from mtlue._data import inspect_dataset
from mtlue.datasets import ChestXray14

TASKS = [
    "Atelectasis",
    "Cardiomegaly",
    "Effusion",
    "Infiltration",
    "Mass",
    "Nodule",
    "Pneumonia",
    "Pneumothorax",
    "Consolidation",
    "Edema",
    "Emphysema",
    "Fibrosis",
    "Pleural_Thickening",
    "Hernia",
]
# As it is published: commas in brackets without quotes, and one at the end.
HEADER = (
    "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position,"
    "OriginalImage[Width,Height],OriginalImagePixelSpacing[x,y],"
)
FINDINGS = {
    "00000001_000.png": ("Cardiomegaly", [1]),
    "00000001_001.png": ("Cardiomegaly|Emphysema", [1, 10]),
    "00000002_000.png": ("No Finding", []),
    "00000003_000.png": ("Hernia|Atelectasis|Pleural_Thickening", [0, 12, 13]),
    "00000004_000.png": ("|".join(TASKS), list(range(14))),
}
FOLDERS = {"00000001_000.png": 1, "00000001_001.png": 1, "00000002_000.png": 2, "00000003_000.png": 12, "00000004_000.png": 12}
TRAIN = ["00000003_000.png", "00000001_000.png", "00000001_001.png"]
TEST = ["00000002_000.png", "00000004_000.png"]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Five images in three of the twelve folders, grey by their place in `FINDINGS`; the second is stored as RGBA."""
    for index, (name, number) in enumerate(FOLDERS.items()):
        folder = tmp_path / f"images_{number:03}" / "images"
        folder.mkdir(parents=True, exist_ok=True)
        grey = 50 * index
        image = Image.new("RGBA", (16, 12), (grey, grey, grey, 128)) if index == 1 else Image.new("L", (16, 12), grey)
        image.save(folder / name)
    lines = [f"{name},{labels},0,1,58,M,PA,2682,2749,0.143,0.143," for name, (labels, _) in FINDINGS.items()]
    (tmp_path / "Data_Entry_2017.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    (tmp_path / "train_val_list.txt").write_text("\n".join(TRAIN))
    (tmp_path / "test_list.txt").write_text("\r\n".join(TEST) + "\r\n\r\n")
    return tmp_path


def check(root: Path) -> None:
    """Labels and pixels of both parts, in the order of the lists."""
    for split, names in (("train", TRAIN), ("test", TEST)):
        dataset = ChestXray14(root, split=split)
        assert dataset.tasks == dict.fromkeys(TASKS, mtlue.Classification(2))
        assert list(dataset.tasks) == TASKS
        assert len(dataset) == len(names)
        for name, (image, targets) in zip(names, dataset, strict=True):
            grey = 50.0 * list(FINDINGS).index(name)
            torch.testing.assert_close(image * 255, torch.full((1, 12, 16), grey))
            assert list(targets) == TASKS
            assert [index for index, target in enumerate(targets.values()) if target == 1] == FINDINGS[name][1]
            assert all(target.dtype == torch.int64 and int(target) in (0, 1) for target in targets.values())


def test_labels_and_pixels_of_each_part(root: Path) -> None:
    check(root)


def test_the_table_of_2020_and_its_quirks(root: Path) -> None:
    """Another name, quotes around every field, a byte order mark, no comma at the end."""
    old = root / "Data_Entry_2017.csv"
    lines = [",".join(f'"{field}"' for field in line.rstrip(",").split(",")) for line in old.read_text().splitlines()]
    old.unlink()
    (root / "Data_Entry_2017_v2020.csv").write_text("\ufeff" + "\n".join(lines), encoding="utf-8")
    check(root)


def test_columns_are_found_by_their_names(root: Path) -> None:
    lines = ["Finding Labels,Image Index", *(f"{labels},{name}" for name, (labels, _) in FINDINGS.items())]
    (root / "Data_Entry_2017.csv").write_text("\n".join(lines))
    check(root)


def test_all_archives_in_one_folder_will_do(root: Path) -> None:
    (root / "images").mkdir()
    for path in sorted(root.glob("images_*/images/*.png")):
        path.rename(root / "images" / path.name)
    check(root)


def test_the_set_can_be_inspected_pickled_and_shown(root: Path) -> None:
    dataset = pickle.loads(pickle.dumps(ChestXray14(str(root), split="train", image_size=(6, 8))))
    inspection = inspect_dataset(dataset, dataset.tasks)
    assert (inspection.length, inspection.channels, inspection.typical_size) == (3, 1, (6, 8))
    assert mtlue.UEGenerator(dataset.tasks, (1, 6, 8), width=2, embedding_channels=1).tasks == dataset.tasks
    assert repr(dataset) == "ChestXray14(3 samples, split='train', image_size=(6, 8), 14 tasks)"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("train_val_list.txt", r"train_val_list\.txt: not found"),
        ("Data_Entry_2017.csv", r"neither Data_Entry_2017\.csv nor Data_Entry_2017_v2020\.csv"),
        ("images_012/images/00000003_000.png", r"1 of the 3 images of train_val_list\.txt .*: 00000003_000\.png"),
    ],
)
def test_a_missing_file_is_named(root: Path, name: str, words: str) -> None:
    (root / name).unlink()
    with pytest.raises(FileNotFoundError, match=rf"{words}; get .*https://nihcc\.app\.box\.com"):
        ChestXray14(root, split="train")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("Finding Labels", "Labels", "expected columns 'Image Index' and 'Finding Labels', got"),
        ("Emphysema,", "Emphysemia,", "unknown finding 'Emphysemia' of 00000001_001.png"),
        ("00000001_000.png,", "00000009_000.png,", "no line for 00000001_000.png of train_val_list.txt"),
        ("00000003_000.png,", "00000003_000.png\n", "the line '00000003_000.png' is cut short"),
    ],
)
def test_a_broken_table_is_named(root: Path, old: str, new: str, words: str) -> None:
    table = root / "Data_Entry_2017.csv"
    text = table.read_text()
    assert text.count(old) == 1
    table.write_text(text.replace(old, new))
    with pytest.raises(ValueError, match=rf"Data_Entry_2017\.csv: {words}.*nihcc"):
        ChestXray14(root, split="train")


def test_an_empty_table_and_a_list_that_is_no_text_are_named(root: Path) -> None:
    (root / "Data_Entry_2017.csv").write_text("")
    with pytest.raises(ValueError, match=r"Data_Entry_2017\.csv: expected columns .* got \[\]"):
        ChestXray14(root, split="train")
    (root / "test_list.txt").write_bytes(b"\x89PNG\xff")
    with pytest.raises(ValueError, match=r"test_list\.txt: expected text, got other bytes"):
        ChestXray14(root, split="test")


def test_a_wrong_split_is_named(root: Path) -> None:
    with pytest.raises(ValueError, match="split: expected one of 'train', 'test', got 'train_val'"):
        ChestXray14(root, split="train_val")
