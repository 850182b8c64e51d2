"""Shards of a store: how a set is cut, what is checked when, and what a writer that was interrupted does."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from faults import Faults
from mtlue._formats import Portion, StoredImages
from mtlue._formats.images import Maker
from stored import SIZES, content, images_of, maker, same, shape_of, writer_of

pytestmark = pytest.mark.usefixtures("small_shards")


def written(folder: Path, images: list[Tensor]) -> StoredImages:
    writer_of(folder, len(images), shape_of(images)).fill(maker(images))
    return StoredImages(folder)


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
