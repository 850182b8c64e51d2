"""Ranks that write one store: who writes which shard, and what each is told of the others."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

from mtlue._formats import Portion, StoreWriter, WorkFolder, work_folder
from mtlue._formats.images import Maker
from mtlue._runtime import Ranks
from stored import SIZES, content, images_of, maker, same

pytestmark = pytest.mark.usefixtures("small_shards")


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
