"""Shards of a store: who writes which, what is checked when, and stores of the old form."""

from __future__ import annotations

import itertools
import json
import math
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mtlue
from faults import Faults
from mtlue._formats import Portion, StoredImages, StoreWriter, WorkFolder, store, work_folder
from mtlue._formats.images import Maker
from mtlue._formats.manifest import file_entry, signed
from mtlue._runtime import Ranks
from stored import images_of, maker, writer_of

SIZES = {"alike": [(4, 6)] * 23, "of several sizes": [(1 + index % 5, 2 + index % 3) for index in range(23)]}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards of six images, in batches of two; and little patience."""
    monkeypatch.setattr(store, "_SHARD_SIZE", 7)
    monkeypatch.setattr(work_folder, "POLL", 0.01)


def shape_of(images: list[Tensor]) -> tuple[int, ...] | None:
    return tuple(images[0].shape) if len({image.shape for image in images}) == 1 else None


def written(folder: Path, images: list[Tensor]) -> StoredImages:
    writer_of(folder, len(images), shape_of(images)).fill(maker(images))
    return StoredImages(folder)


def same(stored: StoredImages, images: list[Tensor]) -> bool:
    return len(stored) == len(images) and all(torch.equal(stored[index], image) for index, image in enumerate(images))


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("kind", list(SIZES))
def test_a_set_is_cut_into_shards_of_whole_batches(tmp_path: Path, kind: str) -> None:
    images = images_of(SIZES[kind])
    stored = written(tmp_path / "store", images)
    assert same(stored, images)
    names = [f"images-{number:06d}.bin" for number in range(4)]
    names += [f"shapes-{number:06d}.bin" for number in range(4)] if kind != "alike" else []
    assert set(content(tmp_path / "store")) == {"manifest.json", *names}
    assert json.loads((tmp_path / "store" / "manifest.json").read_text())["shard"] == 6


@pytest.mark.parametrize("kind", list(SIZES))
def test_only_the_shard_that_is_read_is_checked(tmp_path: Path, kind: str) -> None:
    images = images_of(SIZES[kind])
    written(tmp_path / "store", images)
    changed = tmp_path / "store" / "images-000002.bin"
    changed.write_bytes(bytes([changed.read_bytes()[0] ^ 1]) + changed.read_bytes()[1:])
    stored = StoredImages(tmp_path / "store")
    assert all(torch.equal(stored[index], images[index]) for index in [*range(12), *range(18, 23)])
    for index in range(12, 18):
        with pytest.raises(ValueError, match=r"images-000002\.bin does not have the expected checksum: it was changed"):
            stored[index]
    changed.unlink()
    with pytest.raises(ValueError, match=r"images-000002\.bin is missing"):
        StoredImages(tmp_path / "store").check_layout()
    # What was opened before stays readable.
    assert torch.equal(stored[0], images[0])


@pytest.mark.parametrize("kind", list(SIZES))
def test_a_disk_that_fails_while_images_are_read_is_told_of_by_file(tmp_path: Path, kind: str) -> None:
    written(tmp_path / "store", images_of(SIZES[kind]))
    with Faults(tmp_path) as counted:
        StoredImages(tmp_path / "store")[0]
    for at in range(len(counted.operations)):
        with Faults(tmp_path, at=at), pytest.raises((OSError, ValueError), match=str(tmp_path)):
            StoredImages(tmp_path / "store")[0]


def test_opening_reads_the_manifest_alone(tmp_path: Path) -> None:
    images = images_of(SIZES["alike"])
    written(tmp_path / "store", images)
    for file in (tmp_path / "store").glob("*.bin"):
        file.unlink()
    assert len(StoredImages(tmp_path / "store")) == 23


def test_a_shard_is_hashed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, hashed = images_of(SIZES["alike"]), list[str]()
    stored = written(tmp_path / "store", images)
    check = vars(__import__("mtlue._formats.stored_images", fromlist=["_"]))["file_fault"]
    monkeypatch.setattr("mtlue._formats.stored_images.file_fault", lambda *of: hashed.append(of[1]) or check(*of))
    for _ in range(2):
        assert same(stored, images)
    assert hashed == [f"images-{number:06d}.bin" for number in range(4)]


def stopped(after: int, images: list[Tensor]) -> Maker:
    """Stops after so many images."""

    def make(portion: Portion) -> Generator[list[Tensor], None, None]:
        for number, batch in enumerate(maker(images)(portion)):
            if 2 * number == after:
                raise KeyboardInterrupt
            yield batch

    return make


@pytest.mark.parametrize("kind", list(SIZES))
@pytest.mark.parametrize("after", [2, 6, 8])
def test_an_interrupted_writer_goes_on_after_its_last_batch(tmp_path: Path, kind: str, after: int) -> None:
    images = images_of(SIZES[kind])
    with pytest.raises(KeyboardInterrupt):
        writer_of(tmp_path / "store", 23, shape_of(images)).fill(stopped(after, images))
    portions = list[tuple[int, int]]()

    def noting(portion: Portion) -> Generator[list[Tensor], None, None]:
        portions.append((portion.done, portion.total))
        return maker(images)(portion)

    stored = writer_of(tmp_path / "store", 23, shape_of(images)).fill(noting)
    assert portions == [(after, 23)]
    assert same(stored, images)  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", ["cut", "changed", "gone", "note lost with the power"])
def test_a_shard_whose_beginning_is_damaged_is_begun_again(tmp_path: Path, damage: str) -> None:
    images = images_of(SIZES["of several sizes"])
    with pytest.raises(KeyboardInterrupt):
        writer_of(tmp_path / "store", 23).fill(stopped(10, images))
    file, note = tmp_path / "draft" / "shards" / "images-000001.bin", tmp_path / "draft" / "shards" / "000001.json"
    if damage == "note lost with the power":
        note.write_bytes(b"")
    elif damage == "gone":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] if damage == "cut" else bytes(file.stat().st_size))
    made = list[int]()

    def noting(portion: Portion) -> Generator[list[Tensor], None, None]:
        made.append(portion.done)
        return maker(images)(portion)

    assert same(writer_of(tmp_path / "store", 23).fill(noting), images)  # type: ignore[arg-type]
    assert made == [6]


def test_a_finished_shard_that_is_cut_is_refused_by_name(tmp_path: Path) -> None:
    images = images_of(SIZES["alike"])
    with pytest.raises(KeyboardInterrupt):
        writer_of(tmp_path / "store", 23, (3, 4, 6)).fill(stopped(8, images))
    file = tmp_path / "draft" / "shards" / "images-000000.bin"
    file.write_bytes(file.read_bytes()[:-1])
    words = (
        r"^path: .*draft is damaged and cannot be resumed \(images-000000\.bin has 431 bytes, expected 432: .*\); delete it$"
    )
    with pytest.raises(ValueError, match=words):
        writer_of(tmp_path / "store", 23, (3, 4, 6))


def test_a_finished_shard_is_on_the_disk_before_its_note_says_so(tmp_path: Path) -> None:
    images = images_of(SIZES["of several sizes"])
    with Faults(tmp_path) as done:
        written(tmp_path / "store", images)
    told = [f"{each.name} {Path(each.path).name.split('.')[0]}" for each in done.operations]
    for number in range(4):
        last = max(place for place, each in enumerate(told) if each == f"rename {number:06d}")
        for kind in ("images", "shapes"):
            assert f"sync {kind}-{number:06d}" in told[:last]


def test_a_finished_shard_that_was_changed_meanwhile_is_not_published(tmp_path: Path) -> None:
    images = images_of(SIZES["alike"])
    with pytest.raises(KeyboardInterrupt):
        writer_of(tmp_path / "store", 23, (3, 4, 6)).fill(stopped(14, images))
    file = tmp_path / "draft" / "shards" / "images-000001.bin"
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    words = r"draft is damaged and cannot be resumed \(images-000001\.bin does not have the expected checksum: it was changed\)"
    with pytest.raises(ValueError, match=words):
        writer_of(tmp_path / "store", 23, (3, 4, 6))
    file.unlink()
    with pytest.raises(ValueError, match=r"cannot be resumed \(images-000001\.bin is missing\)"):
        writer_of(tmp_path / "store", 23, (3, 4, 6))


@pytest.mark.parametrize("place", ["shards", "ready", "store"])
def test_finished_shards_are_found_while_the_first_rank_gives_them_their_name(tmp_path: Path, place: str) -> None:
    images, writer = images_of(SIZES["alike"]), writer_of(tmp_path / "store", 23, (3, 4, 6))
    with pytest.raises(KeyboardInterrupt):
        writer.fill(stopped(14, images))
    file = tmp_path / "draft" / "shards" / "images-000001.bin"
    to = tmp_path / "store" if place == "store" else tmp_path / "draft" / place
    to.mkdir(exist_ok=True)
    file.rename(to / file.name)
    assert [writer._noted(number) for number in (1, 2)] == [6, 2]


def ranks_in_threads(path: Path, works: list[Callable[[StoreWriter], Any]]) -> list[Any]:
    """Have each rank write in a thread; return what each ended in."""
    ended: list[Any] = [None] * len(works)

    def run(rank: int) -> None:
        try:
            with WorkFolder.claim(path, Ranks(rank, len(works))) as folders:
                assert folders is not None
                assert folders.check_settings({"seed": 0}) is None
                manifest = {"epsilon": 8 / 255}
                ended[rank] = works[rank](StoreWriter(folders, length=23, shape=(3, 4, 6), batch_size=2, manifest=manifest))
        except BaseException as error:
            ended[rank] = error

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return ended


def test_a_rank_waits_for_what_another_is_writing(tmp_path: Path) -> None:
    images, others = images_of(SIZES["alike"]), threading.Event()
    made: dict[int, list[int]] = {0: [], 1: []}

    def making(rank: int) -> Maker:
        def make(portion: Portion) -> Generator[list[Tensor], None, None]:
            indices = [next(portion.indices), next(portion.indices)]
            while indices:
                made[rank] += indices
                if rank == 0:
                    # It has taken its first shard, and the other one makes all the rest meanwhile.
                    others.wait(60)
                elif len(made[rank]) == 17:
                    others.set()
                yield [images[index] for index in indices]
                indices = [index for index in (next(portion.indices, None), next(portion.indices, None)) if index is not None]

        return make

    works = [lambda writer, rank=rank: writer.fill(making(rank)) for rank in range(2)]
    ended = ranks_in_threads(tmp_path / "store", works)  # type: ignore[arg-type]
    assert all(same(stored, images) for stored in ended)
    assert made[0] == list(range(6))
    # Its own from the front, and then those of the other rank from the end.
    assert made[1] == [*range(6, 12), *range(18, 23), *range(12, 18)]
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert content(tmp_path / "store").keys() == {"manifest.json", *(f"images-{number:06d}.bin" for number in range(4))}


def test_batches_are_the_same_whoever_makes_them(tmp_path: Path) -> None:
    images = images_of(SIZES["alike"])
    made: list[list[int]] = []

    def make(portion: Portion) -> Generator[list[Tensor], None, None]:
        while batch := list(itertools.islice(portion.indices, 2)):
            made.append(batch)
            yield [images[index] for index in batch]

    with WorkFolder.claim(tmp_path / "store", Ranks(0, 2)) as folders:
        assert folders is not None
        assert folders.check_settings({"seed": 0}) is None
        StoreWriter(folders, length=23, shape=(3, 4, 6), batch_size=2, manifest={"epsilon": 8 / 255}).fill(make)
    # The other rank has shards 1 and 3, and makes none.
    assert sorted(made) == [list(range(first, min(first + 2, 23))) for first in range(0, 23, 2)]


def test_a_rank_is_told_when_the_first_one_fails(tmp_path: Path) -> None:
    images, done = images_of(SIZES["alike"]), threading.Event()

    def fail(writer: StoreWriter) -> None:
        done.wait(60)
        raise RuntimeError("out of luck")

    def work(writer: StoreWriter) -> Any:
        threading.Timer(0.2, done.set).start()
        return writer.fill(maker(images))

    first, second = ranks_in_threads(tmp_path / "store", [fail, work])
    assert str(first) == "out of luck"
    assert str(second).startswith(f"path: rank 0 has ended, or never began to write {tmp_path / 'store.partial'}; ")
    # Nothing is lost: one process publishes it.
    (stored,) = ranks_in_threads(tmp_path / "store", [lambda writer: writer.fill(maker([]))])
    assert same(stored, images)


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_comes_in_while_another_looks_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rank: int) -> None:
    refused, owner = [2], work_folder.sole_owner

    def held_for_a_moment(path: Any, *, argument: str) -> Any:
        if refused[0]:
            refused[0] -= 1
            raise BlockingIOError("another call")
        return owner(path, argument=argument)

    monkeypatch.setattr(work_folder, "sole_owner", held_for_a_moment)
    with WorkFolder.claim(tmp_path / "store", Ranks(rank, 2)) as folders:
        assert folders is not None
    refused[0] = 4
    with pytest.raises(BlockingIOError), WorkFolder.claim(tmp_path / "store", Ranks(rank, 2)):
        pass


def old_store(folder: Path, images: list[Tensor], **entries: Any) -> Path:
    """A store as 0.1 and 0.2 wrote it."""
    folder.mkdir()
    (folder / "images.bin").write_bytes(b"".join(image.numpy().tobytes() for image in images))
    shape = shape_of(images)
    if shape is None:
        shapes = torch.tensor([image.shape for image in images], dtype=torch.int32)
        (folder / "shapes.bin").write_bytes(shapes.numpy().tobytes())
    files = {file.name: file_entry(file) for file in sorted(folder.iterdir())}
    manifest = {"format": "mtlue protected images 1", "length": len(images), "shape": shape, "files": files, **entries}
    (folder / "manifest.json").write_text(json.dumps(signed(manifest), indent=2))
    return folder


@pytest.mark.parametrize("kind", list(SIZES))
def test_a_store_of_the_old_form_is_read(tmp_path: Path, kind: str) -> None:
    images = images_of(SIZES[kind])
    folder = old_store(tmp_path / "store", images)
    stored = StoredImages(folder)
    stored.check_layout()
    assert same(stored, images)
    (folder / "images.bin").write_bytes(bytes((folder / "images.bin").stat().st_size))
    with pytest.raises(ValueError, match=r"images\.bin does not have the expected checksum: it was changed"):
        StoredImages(folder)[22]


def test_a_store_of_the_old_form_is_loaded_and_verified(tmp_path: Path, canvases: Any, make_generator: Any) -> None:
    safe = mtlue.protect(canvases, generator=make_generator(trained=True, gain=100.0), path=tmp_path / "new", progress=False)
    now = json.loads((tmp_path / "new" / "manifest.json").read_text())
    kept = {name: now[name] for name in ("epsilon", "tasks", "labels", "call")}
    old_store(tmp_path / "old", [safe.stored_image(index) for index in range(len(safe))], **kept)
    loaded = mtlue.ProtectedDataset.load(tmp_path / "old", canvases)
    assert all(torch.equal(loaded.stored_image(index), safe.stored_image(index)) for index in range(len(safe)))
    found = mtlue.verify(tmp_path / "old")
    assert (found.kind, found.length, found.files) == ("store", len(safe), 1)
    assert found.bytes == math.prod(safe.stored_image(0).shape) * len(safe)
