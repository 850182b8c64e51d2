"""The page that tells the readers of an export that it is protected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import mtlue
from exported_sets import FORMATS, format_of, make_set
from mtlue import datasets
from optional import needs


@pytest.mark.parametrize("name", FORMATS)
def test_it_says_what_the_set_is_and_nothing_that_undoes_it(tmp_path: Path, name: str) -> None:
    make_set().export(tmp_path / "out", format=format_of(name))
    text = (tmp_path / "out" / "README.md").read_text()
    assert "protected" in text
    assert f"mtlue {mtlue.__version__}" in text
    assert "shoe (2 classes), parts (label maps)" in text
    assert "8 of 255 levels" in text
    assert not any(word in text.casefold() for word in ("seed", "loss", "generator", "random_noise", "surrogate", "key"))
    assert text.startswith("---\nconfigs:" if name in {"webdataset", "parquet"} else "# A protected image set\n")


def test_it_names_the_tasks_that_were_left_learnable(tmp_path: Path) -> None:
    images = torch.zeros(2, 3, 4, 4, dtype=torch.uint8)
    clean: Any = [(image, {"age": 0, "a|b": 1}) for image in images]
    tasks = {"age": mtlue.Classification(2), "a|b": mtlue.Classification(2)}
    safe: Any = mtlue.ProtectedDataset(images, clean, tasks=tasks, epsilon=0.5, protected_tasks=["a|b"])  # type: ignore[arg-type]
    safe.export(tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "| Left learnable | age |" in text
    assert "| Labels | age (2 classes), a&#124;b (2 classes) |" in text


def test_a_format_may_write_its_own(tmp_path: Path) -> None:
    class Told(datasets.ExportFormat):
        def write(self, folder: Path, samples: Any) -> None:
            (folder / "README.md").write_text("Of the format.")

        def read(self, folder: Path) -> Iterator[Any]:
            yield from ()

    make_set().export(tmp_path / "out", format=Told())
    assert (tmp_path / "out" / "README.md").read_text() == "Of the format."
    assert mtlue.verify(tmp_path / "out").files == 1


@pytest.mark.parametrize("name", ["webdataset", "parquet"])
def test_hugging_face_opens_the_folder_by_it(tmp_path: Path, name: str) -> None:
    library = needs("datasets", extra="huggingface")
    library.disable_progress_bars()
    safe = make_set(classes={"shoe": ["other", "shoe"]}, tasks={"shoe": 2})
    safe.export(tmp_path / "out", format=format_of(name))
    rows = library.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == 11
    if name == "parquet":
        assert rows.features["shoe"].names == ["other", "shoe"]
        assert list(rows["shoe"]) == [index % 2 for index in range(11)]
