"""More samples are appended to an export, as long as they are alike."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import mtlue
from exported_sets import FORMATS, files_of, format_of, make_set
from mtlue import datasets


@pytest.mark.parametrize("name", FORMATS)
def test_more_samples_are_appended(tmp_path: Path, name: str) -> None:
    first, second, third = make_set(), make_set(1, 5), make_set(2, 3)
    for each in (first, second, third, third):
        # The last is a call that is repeated, and finds its samples there.
        each.export(tmp_path / "out", format=format_of(name), append=(tmp_path / "out").exists())
    assert mtlue.verify(tmp_path / "out").length == 19
    format = datasets.PNG() if name == "png" else format_of(name)
    reader = mtlue._formats.NPY() if format == "npy" else format  # type: ignore[attr-defined]
    read = list(reader.read(tmp_path / "out"))
    expected = [(safe.stored_image(index), safe[index][1]) for safe in (first, second, third) for index in range(len(safe))]
    assert len(read) == 19
    for (image, targets), (own, labels) in zip(read, expected, strict=True):
        assert torch.equal(image, own)
        assert int(targets["shoe"]) == labels["shoe"]
        assert torch.equal(targets["parts"].long(), labels["parts"])


def test_only_what_is_alike_is_appended(tmp_path: Path) -> None:
    make_set(classes={"shoe": ["other", "shoe"]}).export(tmp_path / "out")
    before = files_of(tmp_path / "out")
    shoes = {"shoe": mtlue.Classification(3), "parts": mtlue.Segmentation(3)}
    wrong: list[tuple[Any, Any, str]] = [
        (make_set(1, tasks=shoes), "png", "tasks: .*out was written with"),
        (make_set(1), "npy", "format: .*out was written with 'PNG', but these samples have 'NPY'"),
        (make_set(1, classes={"shoe": ["shoe", "other"]}), "png", "classes: the set has other class names"),
    ]
    for safe, format, words in wrong:
        with pytest.raises(ValueError, match=words):
            safe.export(tmp_path / "out", format=format, append=True)
        assert files_of(tmp_path / "out") == before
        shutil.rmtree(tmp_path / "out.partial", ignore_errors=True)
    with pytest.raises(FileNotFoundError, match=r"is not a finished export of mtlue: mtlue\.json is missing"):
        make_set().export(tmp_path / "nowhere", append=True)


def test_a_format_that_writes_one_file_cannot_be_appended_to(tmp_path: Path) -> None:
    class OneFile(datasets.ExportFormat):
        def write(self, folder: Path, samples: Any) -> None:
            (folder / "samples.bin").write_bytes(b"".join(bytes(image.flatten().tolist()) for _, image, _ in samples))

        def read(self, folder: Path) -> Iterator[Any]:
            yield from ()

    make_set().export(tmp_path / "out", format=OneFile())
    with pytest.raises(ValueError, match=r"format: OneFile wrote samples\.bin for 2 parts; name files by the index"):
        make_set(1).export(tmp_path / "out", format=OneFile(), append=True)
