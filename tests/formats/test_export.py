"""Exports: which files they have, under which names, and that they are not protected again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Subset

import mtlue
from exported_sets import FORMATS, TASKS, Four, files_of, format_of, make_set
from mtlue import baselines, datasets, evaluation
from optional import needs


@pytest.mark.parametrize("name", FORMATS)
def test_equal_sets_give_equal_bytes_however_they_are_divided(tmp_path: Path, name: str) -> None:
    for folder in ("a", "b"):
        make_set().export(tmp_path / folder, format=format_of(name))
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    if name == "png":
        make_set().export(tmp_path / "c")
        rest = [{path: each for path, each in files_of(tmp_path / folder).items() if path != "mtlue.json"} for folder in "ac"]
        assert rest[0] == rest[1]


def test_folders_have_ten_thousand_files_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlue._formats.image_files._FILES_A_FOLDER", 4)
    safe = make_set()
    safe.export(tmp_path / "out", format=Four())
    names = [path for path in files_of(tmp_path / "out") if path.startswith(("images", "labels/"))]
    assert names[:6] == [
        "images/000000.png", "images/000001.png", "images/000002.png", "images/000003.png",
        "images/001/000004.png", "images/001/000005.png",
    ]  # fmt: skip
    assert "labels/parts/002/000010.npy" in names
    read = datasets.ImageTable(tmp_path / "out", tasks=TASKS)
    for index in range(11):
        assert torch.equal(read[index][0], safe[index][0])
        assert torch.equal(read[index][1]["parts"], safe[index][1]["parts"])


def test_a_set_that_was_exported_is_not_protected_again(tmp_path: Path) -> None:
    safe = make_set(tasks={"shoe": 2})
    safe.export(tmp_path / "out")
    published = datasets.ImageTable(tmp_path / "out")
    clean = [(torch.rand(3, 6, 7), 0)]
    for twice in (
        published,
        Subset(published, [0, 1]),
        ConcatDataset([clean, published]),
        evaluation.SelectedTasks(safe, {"shoe": 2}, ["shoe"]),
        evaluation.SelectedTasks(Subset(published, [1]), {"shoe": 2}, ["shoe"]),
    ):
        with pytest.raises(ValueError, match="dataset: it is protected already"):
            mtlue.protect(twice)
        with pytest.raises(ValueError, match="dataset: it is protected already"):
            baselines.random_noise(twice)
    (tmp_path / "out" / "mtlue.json").unlink()
    assert not datasets.ImageTable(tmp_path / "out").is_protected


def test_images_of_one_name_do_not_share_a_label_map(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / folder / "x.png")
    (tmp_path / "labels.csv").write_text("file\na/x.png\nb/x.png")
    (tmp_path / "labels" / "parts").mkdir(parents=True)
    numpy = needs("numpy", extra="datasets")
    numpy.save(tmp_path / "labels" / "parts" / "x.npy", numpy.zeros((4, 4), dtype="int64"))
    tasks = {"parts": mtlue.Segmentation(3)}
    with pytest.raises(ValueError, match=r"task 'parts': several images would share .*x\.npy"):
        datasets.ImageTable(tmp_path, tasks=tasks)
    for value, folder in enumerate(("a", "b")):
        (tmp_path / "labels" / "parts" / folder).mkdir()
        numpy.save(tmp_path / "labels" / "parts" / folder / "x.npy", numpy.full((4, 4), value))
    read = datasets.ImageTable(tmp_path, tasks=tasks)
    assert [int(targets["parts"].max()) for _, targets in (read[0], read[1])] == [0, 1]


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        (
            {"../../escape": mtlue.Segmentation(3)},
            r"task '\.\./\.\./escape' has label maps, and its name cannot",
        ),
        ({"a\\b": mtlue.Depth()}, "cannot name a folder"),
        ({"..": mtlue.Depth()}, "cannot name a folder"),
        ({"nul": mtlue.Depth()}, "Windows reserves that name"),
        ({"x" * 300: mtlue.Depth()}, "cannot name a folder"),
        (
            {"Parts": mtlue.Depth(), "parts": mtlue.Depth()},
            "task 'parts' would share a folder with task 'Parts'",
        ),
        ({"é": mtlue.Depth(), "e\u0301": mtlue.Depth()}, "would share a folder"),
        ({"file": 2}, "task 'file' would share a column with the images"),
        ({"": 2}, "task '' has an empty name, which a table would lose"),
        ({"a": 2, " a": 2}, "task ' a' has white space at an end"),
        ({"a\nb": 2}, "a character that cannot be printed"),
        ({"a\ud800": 2}, "a character that cannot be printed"),
        ({"file": 2, "..": mtlue.Depth()}, "task 'file' .*; task '..' "),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["png", "webdataset", "parquet"])
def test_names_that_could_not_be_read_again_are_refused(tmp_path: Path, tasks: Any, words: str, name: str) -> None:
    tasks = {("image" if name == "parquet" and each == "file" else each): task for each, task in tasks.items()}
    labels = {
        each: torch.zeros(1, 4, 4) if isinstance(task, mtlue.Depth) else torch.zeros(4, 4).long()
        for each, task in tasks.items()
    }
    labels = {each: 0 if isinstance(tasks[each], int) else label for each, label in labels.items()}
    resolved = {each: mtlue.Classification(task) if isinstance(task, int) else task for each, task in tasks.items()}
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    safe: Any = mtlue.ProtectedDataset(images, [(images[0], labels)], tasks=resolved, epsilon=8 / 255)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=words.replace("'file'", "'image'") if name == "parquet" else words):
        safe.export(tmp_path / "out", format=name)
    assert os.listdir(tmp_path) == []
