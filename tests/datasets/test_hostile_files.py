"""Files that are damaged, huge, turned or written elsewhere: each is read right, or refused with its name."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import mtlue
from mtlue import datasets
from mtlue.datasets import ImageTable
from optional import needs

ORIENTATION = 0x0112


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two images that are not square, and a table."""
    for name in ("a.png", "b.png"):
        Image.new("RGB", (6, 4), (10, 20, 30)).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text("file,age\na.png,1\nb.png,")
    return tmp_path


def write_table(root: Path, *rows: str) -> None:
    (root / "labels.csv").write_text("\n".join(rows))


@pytest.mark.parametrize("ignore_index", [2**32, 2**31, -(2**33), 2**63 - 1, 255])
def test_a_missing_label_stays_missing_whatever_stands_for_it(root: Path, ignore_index: int) -> None:
    tasks: Any = {"age": mtlue.Classification(3, ignore_index=ignore_index)}
    table = ImageTable(root, tasks=tasks)
    assert [int(targets["age"]) for _, targets in table] == [1, ignore_index]
    assert "1 missing" in repr(table)


def test_a_missing_label_stays_missing_in_rows_of_hugging_face() -> None:
    library = needs("datasets", extra="huggingface")
    columns = {"image": [Image.new("L", (4, 4))] * 2, "age": [1, None]}
    rows = library.Dataset.from_dict(columns, library.Features({"image": library.Image(), "age": library.Value("int64")}))
    faces = datasets.HuggingFace(rows, tasks={"age": mtlue.Classification(3, ignore_index=2**32)})
    assert [int(targets["age"]) for _, targets in faces] == [1, 2**32]


def test_an_ignore_index_that_no_tensor_holds() -> None:
    with pytest.raises(ValueError, match="ignore_index: expected an integer of 64 bits, got 9223372036854775808"):
        mtlue.Classification(2, ignore_index=2**63)


@pytest.mark.parametrize(("orientation", "corner"), [(3, (3, 5)), (6, (0, 3)), (8, (5, 0))])
def test_images_are_upright(root: Path, orientation: int, corner: tuple[int, int]) -> None:
    image = Image.new("RGB", (6, 4))
    image.putpixel((0, 0), (255, 255, 255))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    image.save(root / "a.png", exif=exif)
    for channels in (None, 1, 3):
        found = ImageTable(root, channels=channels)[0][0]
        assert found.shape[-2:] == ((4, 6) if orientation == 3 else (6, 4))
        assert found.amax(0).nonzero().tolist() == [list(corner)]
    (root / "35_1_2_0.jpg").mkdir()
    image.save(root / "35_1_2_0.jpg" / "35_1_2_0.png", exif=exif)
    faces = datasets.UTKFace(root / "35_1_2_0.jpg", split="test")
    assert faces[0][0].amax(0).nonzero().tolist() == [list(corner)]


@pytest.mark.parametrize("cell", ["/etc/a.png", "../a.png", "sub/../../a.png", ".."])
def test_paths_that_leave_the_folder(root: Path, cell: str) -> None:
    inner = root / "inner"
    inner.mkdir()
    write_table(inner, "file,age", f"{cell},1")
    with pytest.raises(ValueError, match=rf"labels\.csv: .*line 2, column 'file': '{cell}' is outside the folder"):
        ImageTable(inner)
    write_table(inner, "file,age", f"{root / 'a.png'},1")
    with pytest.raises(ValueError, match="is outside the folder"):
        ImageTable(inner)


def test_paths_that_only_look_as_if_they_left_it(root: Path) -> None:
    (root / "sub").mkdir()
    (root / "a.png").rename(root / "..a.png")
    write_table(root, "file,age", "..a.png,1", "sub/../b.png,0")
    assert len(ImageTable(root)) == 2


def test_decompression_bombs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(ValueError, match=r"a\.png: cannot be read as an image \(Image size \(24 pixels\) exceeds"):
        ImageTable(root)[0]
    (root / "UTKFace").mkdir()
    (root / "a.png").rename(root / "UTKFace" / "35_1_2_0.png")
    with pytest.raises(ValueError, match=r"35_1_2_0\.png: cannot be read as an image \(Image size"):
        datasets.UTKFace(root, split="test")[0]


def npy(shape: tuple[int, ...], data: bytes = b"") -> bytes:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


BROKEN = {
    "huge": npy((2**20, 2**20, 2**10)),
    "overflow": npy((2**62, 2**62)),
    "short": npy((4, 6), b"x" * 8),
    "negative": npy((-4, 6)),
    "long header": b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**31) + b"{",
    "no header": b"\x93NUMPY\x01\x00",
    "odd header": npy((4, 6)).replace(b"'shape'", b"'shapf'"),
    "other": b"PK\x03\x04",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_numpy_files_that_are_no_images(root: Path, kind: str) -> None:
    (root / "a.npy").write_bytes(BROKEN[kind])
    write_table(root, "file,age", "a.npy,1")
    with pytest.raises(ValueError, match=r"a\.npy: cannot be read as an image"):
        ImageTable(root)[0]
    write_table(root, "file,age", "a.png,1")
    (root / "labels" / "depth").mkdir(parents=True)
    (root / "labels" / "depth" / "a.npy").write_bytes(BROKEN[kind])
    with pytest.raises(ValueError, match=r"a\.npy: "):
        ImageTable(root, tasks={"depth": mtlue.Depth()})[0]


@pytest.mark.parametrize("kind", BROKEN)
def test_numpy_files_of_nyuv2(tmp_path: Path, kind: str) -> None:
    for name in ("image", "label", "depth", "normal"):
        (tmp_path / "train" / name).mkdir(parents=True)
        np.save(tmp_path / "train" / name / "0.npy", np.zeros((4, 6, 3)))
    (tmp_path / "train" / "image" / "0.npy").write_bytes(BROKEN[kind])
    with pytest.raises(ValueError, match=r"0\.npy: cannot be read as an array of numbers"):
        datasets.NYUv2(tmp_path, split="train")[0]


def test_cells_that_are_too_long(root: Path) -> None:
    write_table(root, "file,age", f"a.png,{'x' * 200_000}")
    with pytest.raises(ValueError, match=r"labels\.csv: cannot be read as a CSV file \(field larger than field limit"):
        ImageTable(root)
    (root / "train_val_list.txt").write_text("a.png")
    (root / "Data_Entry_2017.csv").write_text(f"Image Index,Finding Labels\na.png,{'x' * 200_000}")
    with pytest.raises(ValueError, match=r"Data_Entry_2017\.csv: cannot be read as a CSV file \(field larger"):
        datasets.ChestXray14(root, split="train")


@pytest.mark.parametrize("number", ["9" * 19, "9" * 30, "9" * 5000, "-" + "9" * 20])
def test_numbers_that_no_tensor_holds(root: Path, number: str) -> None:
    write_table(root, "file,age", f"a.png,{number}", "b.png,1")
    with pytest.raises(ValueError, match=r"labels\.csv: line 2, column 'age': "):
        ImageTable(root)
    with pytest.raises(ValueError, match=r"labels\.csv: line 2, column 'age': "):
        ImageTable(root, tasks={"age": 3})


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16"])
def test_a_table_from_a_spreadsheet_is_told_its_cure(root: Path, encoding: str) -> None:
    path = root / "labels.csv"
    path.write_text("file,straße\na.png,1\nb.png,0", encoding)
    with pytest.raises(
        ValueError, match=r"labels\.csv: expected text in UTF-8; save it as 'CSV UTF-8' in Excel, or "
    ) as caught:
        ImageTable(root)
    cure = str(caught.value).partition("in Python: ")[2].partition(", with")[0]
    eval(cure, {"path": path})
    assert list(ImageTable(root).tasks) == ["straße"]


def test_loading_a_generator_leaves_random_numbers_alone(tmp_path: Path, make_generator: Any) -> None:
    make_generator().save(tmp_path / "key.pt")
    before = torch.get_rng_state()
    mtlue.UEGenerator.load(tmp_path / "key.pt")
    assert torch.equal(torch.get_rng_state(), before)


def test_a_damaged_row_of_hugging_face_is_named() -> None:
    library = needs("datasets", extra="huggingface")
    columns = {"image": [{"bytes": b"no image", "path": None}], "age": [1]}
    rows = library.Dataset.from_dict(columns, library.Features({"image": library.Image(), "age": library.Value("int64")}))
    with pytest.raises(ValueError, match="row 0, column 'image': "):
        datasets.HuggingFace(rows, tasks={"age": 2})[0]
