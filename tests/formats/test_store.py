"""The folder of protected images: what is checked, and what is not in memory."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mtlue
from mtlue._formats import MemoryImages, Portion, StoredImages
from mtlue._formats.manifest import file_entry, signed
from stored import images_of, maker, writer_of


def write(folder: Path, images: list[Tensor], shape: Any = None) -> StoredImages:
    writer_of(folder, len(images), shape).fill(maker(images))
    return StoredImages(folder)


@pytest.mark.parametrize("sizes", [[(4, 6)] * 5, [(4, 6), (3, 9), (1, 1), (20, 2), (4, 6)]])
def test_what_is_written_is_read(tmp_path: Path, sizes: list[tuple[int, int]]) -> None:
    images = images_of(sizes)
    shape = (3, 4, 6) if len(set(sizes)) == 1 else None
    stored = write(tmp_path / "store", images, shape)
    memory = MemoryImages(5, shape=shape, batch_size=3).fill(maker(images, 3))
    for kept in (stored, memory, pickle.loads(pickle.dumps(stored))):
        assert len(kept) == 5
        assert all(torch.equal(kept[index], image) for index, image in enumerate(images))
    assert stored[2].dtype == torch.uint8


def test_a_writer_goes_on_after_its_last_note(tmp_path: Path) -> None:
    images = images_of([(4, 6), (3, 9), (5, 5), (2, 2)])
    first = writer_of(tmp_path / "store", 4, batch_size=7)
    next(first.portions())
    first.append(images[:2])
    first.close()
    for name in ("images-000000.bin", "shapes-000000.bin"):
        with (tmp_path / "draft" / "shards" / name).open("ab") as file:
            file.write(b"half a batch")
    second = writer_of(tmp_path / "store", 4)
    assert (second.count, second.batch_size) == (2, 7)
    asked: list[Portion] = []
    stored = second.fill(lambda portion: asked.append(portion) or maker(images)(portion))  # type: ignore[func-returns-value]
    assert [(portion.done, portion.total) for portion in asked] == [(2, 4)]
    assert all(torch.equal(stored[index], image) for index, image in enumerate(images))
    assert {file.name for file in (tmp_path / "store").iterdir()} == {"images-000000.bin", "shapes-000000.bin", "manifest.json"}


@pytest.mark.parametrize("memory", [True, False])
def test_too_few_images_are_no_set(tmp_path: Path, memory: bool) -> None:
    images = images_of([(4, 6)] * 4)
    sink = MemoryImages(5, shape=(3, 4, 6), batch_size=2) if memory else writer_of(tmp_path / "store", 5, (3, 4, 6))
    with pytest.raises(RuntimeError, match="only 4 of 5 images were made"):
        sink.fill(maker(images))
    assert not (tmp_path / "store").exists()


def test_a_large_store_is_not_in_memory(tmp_path: Path) -> None:
    images = images_of([(64, 64)] * 300)
    stored = write(tmp_path / "store", images, (3, 64, 64))
    assert (tmp_path / "store" / "images-000000.bin").stat().st_size == 300 * 3 * 64 * 64
    # Neither before nor after an image was looked at.
    assert len(pickle.dumps(stored)) < 3000
    assert torch.equal(stored[299], images[299])
    assert len(pickle.dumps(stored)) < 3000


@pytest.fixture
def store(canvases: Any, make_generator: Any, tmp_path: Path) -> Path:
    """A store of the canvases."""
    generator = make_generator(trained=True, gain=100.0)
    mtlue.protect(canvases, generator=generator, path=tmp_path / "store", progress=False)
    return tmp_path / "store"


def refused(store: Path, dataset: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        mtlue.ProtectedDataset.load(store, dataset)


def test_a_loaded_set_is_small_to_send(store: Path, canvases: Any) -> None:
    loaded = mtlue.ProtectedDataset.load(store, canvases)
    loaded[3]
    assert len(pickle.dumps(loaded._images)) < 3000


def test_images_that_were_changed(store: Path, canvases: Any) -> None:
    file = store / "images-000000.bin"
    content = bytearray(file.read_bytes())
    # The last bit of a pixel, in an image that is not compared when the store is opened.
    content[1 * 256 + 5] ^= 1
    file.write_bytes(content)
    loaded = mtlue.ProtectedDataset.load(store, canvases[:48])
    words = r"path: the store .*images-000000\.bin does not have the expected checksum: it was changed"
    for _ in range(2):
        with pytest.raises(ValueError, match=words):
            loaded[3]
    with pytest.raises(ValueError, match="it was changed"):
        mtlue.verify(store)
    # One that is compared, and differs by more than epsilon.
    content[0] ^= 128
    file.write_bytes(content)
    refused(store, canvases, words)
    file.write_bytes(content[:-100])
    refused(store, canvases, r"images-000000\.bin has 12188 bytes, expected 12288: it is truncated or was changed")
    file.write_bytes(content + b"0")
    refused(store, canvases, r"images-000000\.bin has 12289 bytes, expected 12288")
    file.unlink()
    refused(store, canvases, r"images-000000\.bin is missing")


def test_shapes_that_were_changed(make_generator: Any, tmp_path: Path) -> None:
    dataset = [(image, (0, 1)) for image in images_of([(8, 9), (10, 7), (8, 8)])]
    generator = make_generator(shape=(3, 8, 8), trained=True, gain=100.0)
    mtlue.protect(dataset, generator=generator, path=tmp_path / "store", progress=False)
    shapes = tmp_path / "store" / "shapes-000000.bin"
    assert shapes.stat().st_size == 3 * 3 * 4
    shapes.write_bytes(shapes.read_bytes()[:-12])
    refused(tmp_path / "store", dataset, r"shapes-000000\.bin has 24 bytes, expected 36")
    shapes.unlink()
    refused(tmp_path / "store", dataset, r"shapes-000000\.bin is missing")


def test_no_store(store: Path, canvases: Any, tmp_path: Path) -> None:
    (store / "manifest.json").unlink()
    for folder in (store, tmp_path / "nowhere", store / "images-000000.bin"):
        with pytest.raises(FileNotFoundError, match=r"path: .* is not a finished store of protected images"):
            mtlue.ProtectedDataset.load(folder, canvases)


@pytest.mark.parametrize(
    "change",
    [
        {"length": 47},
        {"length": None},
        {"shape": [1, 16, 15]},
        {"shape": None},
        {"shape": "1x16x16"},
        {"format": "mtlue protected images 99"},
        {"files": {}},
        {"files": None},
        {"epsilon": "8/255"},
        {"epsilon": 0.5},
        {"epsilon": 1 / 255},
        {"tasks": 5},
        {"tasks": [["shoe", "Classification", {"num_classes": 2, "ignore_index": -1}]]},
        {"tasks": [["shoe", "Unheard", {}]]},
        {"labels": "0" * 64},
    ],
)
def test_a_manifest_that_was_changed(store: Path, canvases: Any, change: dict[str, Any]) -> None:
    file = store / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    refused(store, canvases, "store|task")


@pytest.mark.parametrize("name", ["length", "shape", "format", "files", "epsilon", "tasks", "labels"])
def test_a_manifest_without_an_entry(store: Path, canvases: Any, name: str) -> None:
    file = store / "manifest.json"
    manifest = json.loads(file.read_text())
    del manifest[name]
    file.write_text(json.dumps(manifest))
    refused(store, canvases, "store")


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "null"])
def test_a_manifest_that_is_none(store: Path, canvases: Any, text: str) -> None:
    (store / "manifest.json").write_text(text)
    refused(store, canvases, "path: the store .* cannot be used: manifest.json is damaged: it does not hold a JSON object$")


def rewrite(store: Path, **entries: Any) -> None:
    """Change the manifest as somebody who knows its checksum can."""
    manifest = {**json.loads((store / "manifest.json").read_text()), **entries}
    (store / "manifest.json").write_text(json.dumps(signed(manifest)))


def test_one_clean_message_says_what_is_wrong_with_a_store(store: Path, canvases: Any) -> None:
    head = f"path: the store {store} cannot be used: "
    faults: list[tuple[Callable[[], Any], str]] = [
        (lambda: rewrite(store, format="other"), "its format is 'other', expected 'mtlue protected images 2'"),
        (lambda: (store / "manifest.json").write_text("{}"), "manifest.json has no entry 'format'"),
        (lambda: rewrite(store, files=None), "manifest.json: files is 'None', expected an object"),
        (lambda: (store / "images-000000.bin").write_bytes(b"0"), "images-000000.bin has 1 bytes, expected 12288: it is "
         "truncated or was changed"),
    ]  # fmt: skip
    whole = (store / "manifest.json").read_bytes()
    for change, fault in faults:
        (store / "manifest.json").write_bytes(whole)
        change()
        with pytest.raises(ValueError, match="cannot be used") as caught:
            mtlue.ProtectedDataset.load(store, canvases)
        assert str(caught.value) == head + fault
        # A chained error would be shown above it.
        assert "".join(traceback.format_exception(caught.value)).count("Traceback") == 1


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("settings.json", b"{", "settings.json is damaged: it does not hold a JSON object"),
        ("shards/plan.json", b"{}", "plan.json has no entry 'batch_size'"),
        ("shards/000000.json", b"5", "000000.json is damaged: it does not hold a JSON object"),
        ("shards/000000.json", b"{}", "000000.json has no entry 'count'"),
    ],
    ids=["settings", "plan", "note", "empty note"],
)
def test_what_is_wrong_with_the_folder_of_an_interrupted_call(
    canvases: Any, make_generator: Any, tmp_path: Path, name: str, change: bytes, fault: str
) -> None:
    def stop(figures: Any) -> None:
        raise KeyboardInterrupt

    settings = {"generator": make_generator(trained=True), "path": tmp_path / "store", "batch_size": 16}
    with pytest.raises(KeyboardInterrupt):
        mtlue.protect(canvases, progress=stop, **settings)
    partial = tmp_path / "store.partial"
    (partial / name).write_bytes(change)
    with pytest.raises(ValueError, match="damaged") as caught:
        mtlue.protect(canvases, progress=False, **settings)
    assert str(caught.value) == f"path: {partial} is damaged and cannot be resumed ({fault}); delete it"


def test_a_data_set_that_cannot_be_read_is_told_with_the_sample(store: Path, canvases: Any) -> None:
    images = [image for image, _ in canvases]
    refused(store, images, r"^dataset: sample 0: expected a pair \(image, targets\), got Tensor$")
    refused(store, [(image, {"shoe": 1}) for image in images], "^dataset: sample 0: targets: missing 'front'; found 'shoe'$")
    refused(
        store, [(image.flatten(), label) for image, label in canvases], "^dataset: sample 0: image: expected an image of shape"
    )


def test_a_store_may_be_moved(store: Path, canvases: Any, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "elsewhere")
    shutil.rmtree(store)
    assert len(mtlue.ProtectedDataset.load(tmp_path / "elsewhere", canvases)) == 48


def resigned(folder: Path, change: Callable[[dict[str, Any]], object], **content: bytes) -> Path:
    """A store with other files and another manifest, whose checksums are right all the same."""
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, data in content.items():
        file = folder / f"{name}-000000.bin"
        file.write_bytes(data)
        manifest["files"][file.name] = file_entry(file)
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(signed(manifest)))
    return folder


def nothing(manifest: dict[str, Any]) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "content", "words"),
    [
        (
            lambda manifest: manifest["files"].pop("images-000000.bin"),
            {},
            "manifest.json has no entry 'images-000000.bin' among its files",
        ),
        (
            lambda manifest: manifest["files"].pop("shapes-000000.bin"),
            {},
            "manifest.json has no entry 'shapes-000000.bin' among its files",
        ),
        (lambda manifest: manifest.update(shape=[3, 4]), {}, "shape.*channels, height and width"),
        (lambda manifest: manifest.update(shape=[3, 4, 0]), {}, "shape.*channels, height and width"),
        (nothing, {"shapes": bytes(13)}, "shapes-000000.bin has 13 bytes, expected 12 for each of 2 images"),
        (nothing, {"shapes": bytes(24)}, "shapes-000000.bin has a side of less than one pixel"),
        (nothing, {"images": bytes(7)}, "images-000000.bin does not hold 2 images of the shapes in shapes-000000.bin"),
        (lambda manifest: manifest.update(shape=[3, 4, 6]), {}, "images-000000.bin does not hold 2 images of the shape that"),
        (lambda manifest: manifest.update(shard=0), {}, "shard is '0', expected the number of images in a shard"),
        (lambda manifest: manifest.update(shard=1), {}, "shapes-000000.bin has 24 bytes, expected 12 for each of 1 images"),
    ],
)
def test_a_store_that_contradicts_itself(tmp_path: Path, change: Any, content: dict[str, bytes], words: str) -> None:
    write(tmp_path / "store", images_of([(4, 6), (3, 9)]))
    with pytest.raises(ValueError, match=f"^path: the store .* cannot be used: .*{words}"):
        StoredImages(resigned(tmp_path / "store", change, **content)).check_layout()


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="counts descriptors as Linux tells them")
def test_a_writer_that_cannot_open_a_file_keeps_none_open(tmp_path: Path) -> None:
    (tmp_path / "draft" / "shards" / "shapes-000000.bin").mkdir(parents=True)
    before = len(os.listdir("/proc/self/fd"))
    # The error holds the frames, and so the writer.
    with pytest.raises(IsADirectoryError) as caught:
        writer_of(tmp_path / "store", 4).fill(maker(images_of([(4, 6)] * 4)))
    assert len(os.listdir("/proc/self/fd")) == before
    assert caught.value.filename.endswith("shapes-000000.bin")
