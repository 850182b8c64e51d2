"""The private table of old and new names: whose it is, where it lies, and that it goes on with an export."""

from __future__ import annotations

import csv
import stat
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Subset
from torchvision.datasets import ImageFolder

from exported_sets import FORMATS, files_of, format_of, make_set
from mtlue import baselines, datasets
from mtlue._formats.names_table import original_files


class Named(list[Any]):
    """A data set that tells the names of its files."""

    files: list[str]


def named(names: str, value: int = 0) -> Any:
    clean = Named((torch.full((3, 4, 4), value, dtype=torch.uint8), index % 2) for index in range(len(names)))
    clean.files = [f"{name}.jpg" for name in names]
    return baselines.random_noise(clean, tasks={"shoe": 2}, epsilon=0.1)


def rows_of(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("png", ["images/000000.png", "images/000001.png"]),
        ("npy", ["images/000000.npy", "images/000001.npy"]),
        ("webdataset", ["000000", "000001"]),
        ("parquet", ["000000.png", "000001.png"]),
    ],
)
def test_it_has_a_line_for_each_sample_and_is_kept_apart(tmp_path: Path, name: str, files: list[str]) -> None:
    named("ab").export(tmp_path / "out", format=format_of(name), names=tmp_path / "names.csv")
    assert rows_of(tmp_path / "names.csv") == [
        ["file", "original", "position"],
        [files[0], "a.jpg", "0"],
        [files[1], "b.jpg", "1"],
    ]
    assert stat.S_IMODE((tmp_path / "names.csv").stat().st_mode) == 0o600
    assert not any(b".jpg" in content for content in files_of(tmp_path / "out").values())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["names.csv", "out"]


def test_it_goes_on_with_the_export(tmp_path: Path) -> None:
    out, table = tmp_path / "out", tmp_path / "names.csv"
    first, second = named("ab"), named("cd", 90)
    for safe, append in ((first, False), (first, False), (second, True), (second, True)):
        # Each call is repeated, and finds its lines there.
        safe.export(out, append=append, names=table)
    assert [row[:2] for row in rows_of(table)[1:]] == [[f"images/00000{i}.png", f"{name}.jpg"] for i, name in enumerate("abcd")]


def test_a_call_that_is_repeated_gives_the_table_of_what_is_there(tmp_path: Path) -> None:
    safe = named("abc")
    safe.export(tmp_path / "out")
    safe.export(tmp_path / "out", names=tmp_path / "names.csv")
    assert len(rows_of(tmp_path / "names.csv")) == 4


def test_a_call_that_was_killed_before_the_table_writes_it_when_it_is_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    safe = named("abc")
    with monkeypatch.context() as patch:
        patch.setattr("mtlue._formats.parts.Parts.publish", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            safe.export(tmp_path / "out", names=tmp_path / "names.csv")
    assert not (tmp_path / "names.csv").exists()
    safe.export(tmp_path / "out", names=tmp_path / "names.csv")
    assert len(rows_of(tmp_path / "names.csv")) == 4


def test_no_other_file_is_written_over(tmp_path: Path) -> None:
    table, letter = tmp_path / "names.csv", tmp_path / "letter.csv"
    letter.write_text("Dear Ann,")
    named("ab").export(tmp_path / "first", names=table)
    before = table.read_bytes()
    for safe, path, words in (
        (named("xy"), table, "names: .* is the table of another export"),
        (named("a"), table, "names: .* is the table of another export"),
        (named("ab"), letter, "exists and is not a table of names"),
    ):
        with pytest.raises(FileExistsError, match=words):
            safe.export(tmp_path / "second", names=path)
        assert not (tmp_path / "second").exists()
        assert not (tmp_path / "second.partial").exists()
    assert (table.read_bytes(), letter.read_text()) == (before, "Dear Ann,")


@pytest.mark.parametrize("place", ["out/names.csv", "out/deep/names.csv", "out", "out.partial/names.csv"])
def test_it_is_not_published(tmp_path: Path, place: str) -> None:
    with pytest.raises(ValueError, match=r"would be published with .*out; keep the table elsewhere"):
        named("ab").export(tmp_path / "out", names=tmp_path / place)
    assert list(tmp_path.iterdir()) == []


def test_names_come_from_folders_tables_and_through_torch_s_wrappers(tmp_path: Path) -> None:
    for name in ("cat/a.png", "dog/b.png"):
        (tmp_path / name).parent.mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text("file,pet\ncat/a.png,cat\ndog/b.png,dog")
    table, folder = datasets.ImageTable(tmp_path), ImageFolder(str(tmp_path))
    assert original_files(table) == ["cat/a.png", "dog/b.png"]
    assert original_files(folder) == [str(tmp_path / "cat/a.png"), str(tmp_path / "dog/b.png")]
    assert original_files(Subset(table, [1])) == ["dog/b.png"]
    assert original_files(ConcatDataset([table, Subset(table, [0])])) == ["cat/a.png", "dog/b.png", "cat/a.png"]
    assert original_files(ConcatDataset([table, [(0, 0)]])) is None  # type: ignore[list-item]
    assert original_files([(0, 0)]) is None


@pytest.mark.parametrize("name", FORMATS)
def test_where_no_names_are_known_positions_are(tmp_path: Path, name: str) -> None:
    make_set(length=2).export(tmp_path / "out", format=format_of(name), names=tmp_path / "names.csv")
    assert [row[1:] for row in rows_of(tmp_path / "names.csv")[1:]] == [["", "0"], ["", "1"]]
