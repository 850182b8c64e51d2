"""Tar shards as a stream: those of an export, and those of others."""

from __future__ import annotations

import io
import json
import pickle
import random
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms.functional import to_pil_image

import mtlue
from exported_sets import make_set
from mtlue import datasets
from mtlue._formats import NPY
from optional import needs
from people import Net, random_images

needs("webdataset.tariterators", extra="webdataset")

IMAGES = random_images(6)


def picture(index: int, format: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    to_pil_image(IMAGES[index]).save(buffer, format)
    return buffer.getvalue()


def archive(path: Path, samples: list[dict[str, bytes]], first: int = 0) -> Path:
    """A shard with the files of each sample by ending."""
    with tarfile.open(path, "w") as tar:
        for index, files in enumerate(samples, start=first):
            for ending, content in files.items():
                entry = tarfile.TarInfo(f"people/{index:04d}.{ending}")
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return path


def in_json(index: int, **labels: Any) -> dict[str, bytes]:
    return {"png": picture(index), "json": json.dumps(labels).encode()}


def levels(image: torch.Tensor) -> torch.Tensor:
    assert image.dtype == torch.float32
    return (255 * image).round().byte()


@pytest.fixture
def shards(tmp_path: Path) -> list[Path]:
    """Three shards of two samples each."""
    rows = [in_json(index, age=index % 3, sex=index % 2, name="Ann", height=1.5) for index in range(6)]
    return [archive(tmp_path / f"part-{part}.tar", rows[2 * part : 2 * part + 2], 2 * part) for part in range(3)]


@pytest.mark.parametrize("files", [datasets.PNG(), NPY()], ids=["png", "npy"])
def test_what_is_exported_is_read_with_its_tasks(tmp_path: Path, files: Any) -> None:
    tasks = {"shoe": mtlue.Classification(5, ignore_index=9), "Parts": mtlue.Segmentation(3)}
    clean = [(image, {"shoe": 9 if index == 2 else index % 2, "Parts": labels["parts"]}) for index, (image, labels) in
             enumerate(make_set())]  # fmt: skip
    safe = mtlue.baselines.random_noise(clean, tasks=tasks)
    safe.export(tmp_path / "out", format=datasets.TarShards(4, files=files))
    stream = datasets.WebDataset(tmp_path / "out")
    # Not all of five classes occur, and the kind of the map is nowhere else.
    assert stream.tasks == tasks
    assert [Path(shard).name for shard in stream.shards] == ["000000.tar", "000001.tar", "000002.tar"]
    read = list(stream)
    assert len(read) == 11
    for index, (image, targets) in enumerate(read):
        assert torch.equal(levels(image), safe.stored_image(index))
        assert targets["shoe"].shape == ()
        assert int(targets["shoe"]) == clean[index][1]["shoe"]
        assert torch.equal(targets["Parts"], clean[index][1]["Parts"])
    assert list(datasets.WebDataset(tmp_path / "out", tasks=["shoe"]).tasks.values()) == [tasks["shoe"]]


def test_names_of_classes_come_with_an_export(tmp_path: Path) -> None:
    make_set(classes={"shoe": ["left", "right"], "other": ["a"]}).export(tmp_path / "out", format="webdataset")
    assert datasets.WebDataset(tmp_path / "out").classes == {"shoe": ["left", "right"]}


def test_integers_of_others_are_tasks(shards: list[Path]) -> None:
    stream = datasets.WebDataset(str(shards[0].with_name("part-{0..2}.tar")))
    assert stream.tasks == {"age": mtlue.Classification(3), "sex": mtlue.Classification(2)}
    assert stream.left_out == {"name": "'Ann' is not an integer", "height": "1.5 is not an integer"}
    assert "left_out={'name'" in repr(stream)
    for _ in range(2):  # It starts anew.
        read = list(stream)
        assert torch.equal(torch.stack([levels(image) for image, _ in read]), IMAGES)
        assert [int(targets["age"]) for _, targets in read] == [0, 1, 2, 0, 1, 2]
    chosen = datasets.WebDataset(shards, tasks={"sex": 4})
    assert chosen.tasks == {"sex": mtlue.Classification(4)}
    assert chosen.left_out == {}
    assert [targets for _, targets in chosen][1] == {"sex": torch.tensor(1)}


def test_labels_that_are_missing_and_other_files(tmp_path: Path) -> None:
    rows = [in_json(0, happy=True), in_json(1, happy=None), in_json(2), in_json(3, happy=-1), in_json(4, happy=False)]
    stream = datasets.WebDataset(archive(tmp_path / "a.tar", rows), channels=1)
    assert stream.tasks == {"happy": mtlue.Classification(2)}
    assert [int(targets["happy"]) for _, targets in stream] == [1, -1, -1, -1, 0]
    assert next(iter(stream))[0].shape == (1, 16, 16)
    both = [{"cls": b"1", "JPG": picture(index, "JPEG"), "png": picture(index)} for index in range(2)]
    path = archive(tmp_path / "b.tar", [*both, {**both[0], "cls": b"0"}])
    assert [int(targets["cls"]) for _, targets in datasets.WebDataset(path)] == [1, 1, 0]
    assert torch.equal(levels(next(iter(datasets.WebDataset(path)))[0]), IMAGES[0])
    assert not torch.equal(levels(next(iter(datasets.WebDataset(path, image="jpg;png")))[0]), IMAGES[0])


def test_a_shuffled_stream_has_every_sample_in_the_same_order_each_time(shards: list[Path]) -> None:
    state = random.getstate()
    streams = [datasets.WebDataset(shards, shuffle=4, seed=seed) for seed in range(4)]
    orders = [[(int(targets["age"]), int(targets["sex"])) for _, targets in stream] for stream in streams]
    assert random.getstate() == state
    assert len(set(map(tuple, orders))) > 1
    for stream, order in zip(streams, orders, strict=True):
        assert sorted(order) == [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]
        assert [(int(targets["age"]), int(targets["sex"])) for _, targets in stream] == order


def test_processes_share_the_shards(shards: list[Path]) -> None:
    stream = pickle.loads(pickle.dumps(datasets.WebDataset(shards)))
    loader = DataLoader(stream, batch_size=None, num_workers=2, generator=torch.Generator())
    assert sorted(int(targets["age"]) for _, targets in loader) == [0, 0, 1, 1, 2, 2]


def test_it_trains_a_generator_and_is_protected_in_one_pass(shards: list[Path], make_generator: Any) -> None:
    stream = datasets.WebDataset(shards)
    samples = list(stream)
    generator = make_generator(stream.tasks, (3, 16, 16))
    settings = {"loss": mtlue.EM(), "epochs": 1, "batch_size": 2, "progress": False}
    history = mtlue.fit(generator, stream, Net({"age": 3, "sex": 2}), steps_per_epoch=5, **settings)
    assert len(history) == 1
    safe = mtlue.protect(samples, generator=generator, check=False, progress=False)
    for index, (image, targets) in enumerate(generator.on_stream(stream, batch_size=4)):
        assert torch.equal(levels(image), safe.stored_image(index))
        assert int(targets["age"]) == index % 3


def test_what_is_published_is_not_protected_again(tmp_path: Path, make_generator: Any) -> None:
    safe = mtlue.baselines.random_noise([(image, {"age": index % 3}) for index, image in enumerate(IMAGES)])
    safe.export(tmp_path / "out", format="webdataset")
    generator = make_generator({"age": 3}, (3, 16, 16), trained=True)
    with pytest.raises(ValueError, match="stream: it is protected already"):
        generator.on_stream(datasets.WebDataset(tmp_path / "out"))
    (tmp_path / "out" / "mtlue.json").unlink()
    assert not datasets.WebDataset(tmp_path / "out", tasks={"age": 3}).is_protected


def test_images_are_upright(tmp_path: Path) -> None:
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    to_pil_image(IMAGES[0][:, :4]).save(buffer, "PNG", exif=exif)
    path = archive(tmp_path / "a.tar", [{"png": buffer.getvalue(), "cls": b"0"}])
    image, _ = next(iter(datasets.WebDataset(path, tasks={"cls": 2})))
    assert torch.equal(levels(image), IMAGES[0][:, :4].rot90(-1, (1, 2)))


@pytest.mark.parametrize(
    ("sample", "words"),
    [
        (in_json(2, age=3), "task 'age': label 3 is out of range"),
        (in_json(2, age="old"), "task 'age': .*'old'"),
        (in_json(2, age=[1, 2]), "task 'age': "),
        ({**in_json(2, age=0), "png": b"no image"}, "cannot identify image file"),
        ({"json": b'{"age": 0}', "txt": b""}, r"found no image with one of the endings \['png', .*only \['json', 'txt'\]"),
        ({**in_json(2), "json": b"{"}, "Expecting property name"),
        ({**in_json(2), "json": b"[0]"}, "expected an object by task in the .json file, got list"),
    ],
)
def test_a_sample_that_cannot_be_read_is_named(tmp_path: Path, sample: dict[str, bytes], words: str) -> None:
    path = archive(tmp_path / "a.tar", [in_json(0, age=0), in_json(1, age=1), sample])
    stream = iter(datasets.WebDataset(path, tasks={"age": 3}))
    assert [int(next(stream)[1]["age"]) for _ in range(2)] == [0, 1]
    with pytest.raises(ValueError, match=rf"a\.tar: sample 'people/0002': cannot be read as an image with labels \(.*{words}"):
        next(stream)


def test_a_map_that_is_missing_is_named(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", [in_json(0, age=0)])
    with pytest.raises(ValueError, match=r"task 'parts': found no label map 'parts.npy', only \['png', 'json'\]"):
        next(iter(datasets.WebDataset(path, tasks={"parts": mtlue.Segmentation(3)})))


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"urls": "none-{0..1}.tar"}, FileNotFoundError, "none-0.tar, none-1.tar: not found; give the paths or addresses"),
        ({"urls": []}, FileNotFoundError, "urls: found no tar files in"),
        ({"tasks": "age"}, TypeError, "tasks: expected a dict"),
        ({"tasks": ["name"]}, TypeError, "task 'name': expected a number or an array, got 'Ann'"),
        ({"image": ""}, TypeError, "image: expected endings of files"),
        ({"channels": 2}, ValueError, "channels: expected 1, 3 or None"),
        ({"shuffle": -1}, ValueError, "shuffle: expected"),
    ],
)
def test_what_cannot_be_used_is_refused(shards: list[Path], settings: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        datasets.WebDataset(**{"urls": shards, **settings})


def test_a_set_without_integers_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.tar", [in_json(0, name="Ann"), in_json(1, name=None)])
    with pytest.raises(ValueError, match=r"the first 2 samples have no integers as labels .*'Ann' is not an integer"):
        datasets.WebDataset(path)
    with pytest.raises(ValueError, match="no labels at all"):
        datasets.WebDataset(archive(tmp_path / "b.tar", [{"png": picture(0)}]))
