"""Shards as the libraries read them that they are made for."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torchvision.transforms.functional import pil_to_tensor

import mtlue
from mtlue import baselines, datasets
from mtlue._formats import NPY
from optional import needs

TASKS = {"scene": mtlue.Classification(3, ignore_index=255), "depth": mtlue.Depth(), "parts": mtlue.Segmentation(4)}


class Named(list[Any]):
    """A data set that tells the names of its classes."""

    classes = {"scene": ["hall", "bath", "loft"]}  # noqa: RUF012


def protected(channels: int = 3, tasks: Any = None) -> Any:
    random = torch.Generator().manual_seed(0)
    samples = Named()
    for index in range(7):
        size = (8, 9 + index % 2)
        labels = {
            "scene": 255 if index == 2 else index % 3,
            "depth": torch.rand(1, *size, generator=random),
            "parts": torch.randint(-1, 4, size, generator=random),
        }
        samples.append((torch.randint(256, (channels, *size), generator=random, dtype=torch.uint8), labels))
    return baselines.random_noise(samples, tasks=TASKS if tasks is None else tasks)


def scene_of(safe: Any, index: int) -> int:
    label = safe[index][1]["scene"]
    return -1 if label == 255 else label


@pytest.mark.parametrize("format", [datasets.TarShards(3), datasets.TarShards(files=NPY()), datasets.ParquetShards(3)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_written_is_read(tmp_path: Path, format: Any, channels: int) -> None:
    if isinstance(format, datasets.ParquetShards):
        needs("pyarrow", extra="huggingface")
    safe = protected(channels)
    safe.export(tmp_path / "out", format=format)
    read = list(format.read(tmp_path / "out"))
    assert len(read) == 7
    for index, (image, targets) in enumerate(read):
        assert torch.equal(image, safe.stored_image(index))
        assert int(targets["scene"]) == scene_of(safe, index)
        for name in ("depth", "parts"):
            assert torch.equal(targets[name], safe[index][1][name])


def test_archives_tell_nothing_of_the_machine(tmp_path: Path) -> None:
    protected().export(tmp_path / "out", format=datasets.TarShards(3))
    assert json.loads((tmp_path / "out" / "classes.json").read_text()) == Named.classes
    with tarfile.open(tmp_path / "out" / "000001.tar") as archive:
        members = archive.getmembers()
    assert [member.name for member in members][:5] == [
        "000003.png", "000003.cls", "000003.json", "000003.depth.npy", "000003.parts.npy",
    ]  # fmt: skip
    assert {(member.mtime, member.uid, member.gid, member.uname, member.gname) for member in members} == {(0, 0, 0, "", "")}


# The library leaves its archives to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_webdataset_reads_the_archives(tmp_path: Path) -> None:
    library = needs("webdataset", extra="test")
    safe = protected()
    safe.export(tmp_path / "out", format=datasets.TarShards(3))
    urls = str(tmp_path / "out" / "{000000..000002}.tar")
    read = list(library.WebDataset(urls, shardshuffle=False).decode("torchrgb8").to_tuple("png", "cls", "json", "depth.npy"))
    assert len(read) == 7
    for index, (image, label, labels, depth) in enumerate(read):
        assert torch.equal(torch.as_tensor(image), safe.stored_image(index))
        assert label == labels["scene"] == scene_of(safe, index)
        assert torch.equal(torch.as_tensor(depth), safe[index][1]["depth"])


def test_hugging_face_reads_the_archives(tmp_path: Path) -> None:
    library = needs("datasets", extra="huggingface")
    safe = protected()
    safe.export(tmp_path / "out", format="webdataset")
    files = str(tmp_path / "out" / "*.tar")
    rows = library.load_dataset("webdataset", data_files=files, cache_dir=str(tmp_path / "cache"), split="train")
    assert len(rows) == 7
    for index, row in enumerate(rows):
        assert torch.equal(pil_to_tensor(row["png"]), safe.stored_image(index))
        assert row["json"]["scene"] == scene_of(safe, index)


@pytest.mark.parametrize("how", ["files", "data_dir", "folder"])
def test_hugging_face_reads_parquet(tmp_path: Path, how: str) -> None:
    library = needs("datasets", extra="huggingface")
    safe, out = protected(), tmp_path / "out"
    safe.export(out, format=datasets.ParquetShards(3))
    given: dict[str, Any] = {
        "files": {"path": "parquet", "data_files": str(out / "data" / "*.parquet")},
        "data_dir": {"path": "parquet", "data_dir": str(out / "data")},
        "folder": {"path": str(out)},
    }[how]
    rows = library.load_dataset(**given, cache_dir=str(tmp_path / "cache"), split="train")
    assert rows.features["scene"] == library.ClassLabel(names=Named.classes["scene"])
    assert rows.features["image"] == library.Image()
    assert rows.column_names == ["image", "scene", "depth", "parts"]
    for index, row in enumerate(rows):
        assert torch.equal(pil_to_tensor(row["image"]), safe.stored_image(index))
        assert row["scene"] == (None if index == 2 else index % 3)
        assert torch.equal(torch.tensor(row["parts"]), safe[index][1]["parts"])
        assert torch.equal(torch.tensor(row["depth"]), safe[index][1]["depth"])
    # The library's own reader of mtlue takes it as any other set.
    again = datasets.HuggingFace(rows.select_columns(["image", "scene"]))
    assert int(again[2][1]["scene"]) == -1
    assert torch.equal((again[3][0] * 255).round().byte(), safe.stored_image(3))


def test_a_parquet_file_has_the_files_of_the_images(tmp_path: Path) -> None:
    parquet = needs("pyarrow.parquet", extra="huggingface")
    safe = protected(tasks={"scene": TASKS["scene"]})
    safe.export(tmp_path / "out", format="parquet")
    row = parquet.read_table(tmp_path / "out" / "data").to_pylist()[4]
    assert row["image"]["path"] == "000004.png"
    assert torch.equal(pil_to_tensor(Image.open(io.BytesIO(row["image"]["bytes"]))), safe.stored_image(4))


def test_wrong_settings() -> None:
    with pytest.raises(ValueError, match="size: expected at least 1, got 0"):
        datasets.TarShards(0)
    with pytest.raises(TypeError, match=r"files: expected a mtlue\.datasets\.ImageFiles or None, got 'png'"):
        datasets.TarShards(files="png")  # type: ignore[arg-type]
    for wrong in (-1, 10):
        with pytest.raises(ValueError, match="compress_level: expected"):
            datasets.PNG(wrong)
    with pytest.raises(TypeError, match="compress_level: expected an int, got True"):
        datasets.PNG(True)


@pytest.mark.parametrize("format", [datasets.TarShards(3), datasets.ParquetShards(3)], ids=repr)
def test_images_that_png_cannot_hold_are_refused(tmp_path: Path, format: Any) -> None:
    with pytest.raises(ValueError, match="PNG holds 1 or 3 channels, but the images have 5"):
        protected(5).export(tmp_path / "out", format=format)


def test_the_level_of_compression_changes_sizes_and_no_pixel(tmp_path: Path) -> None:
    image = protected().stored_image(0)
    files = [datasets.PNG(level).encode(image.repeat(1, 8, 8)) for level in (0, 1, 9)]
    assert len(files[0]) > len(files[1]) >= len(files[2])
    assert len({tuple(datasets.PNG().read_bytes(file).flatten().tolist()) for file in files}) == 1
