"""Several ranks protect one set: they divide the images, need not talk, and write the bytes that one process writes."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

import killed_run
import mtlue
from faults import at_once
from mtlue._data import inspection
from mtlue._formats import work_folder
from mtlue._runtime import tensors_digest, write_bytes
from rank_copies import Written, at_ranks, environment, small_shards
from verb import files_below


class Slow(list[Any]):
    """A set that takes a while to read, so that all ranks have something to do."""

    def __getitem__(self, index: Any) -> Any:
        time.sleep(0.004)
        return super().__getitem__(index)


def protect(path: Any, *, kind: type[Slow] = Slow, **changes: Any) -> Any:
    """Protect 60 images with a trained generator, in shards of six: two batches."""
    dataset, _, generator = killed_run.parts()
    generator.trained = True
    settings: dict[str, Any] = {"path": path, "batch_size": 3, "check": False, "progress": False, "fraction": 0.8, **changes}
    with small_shards():
        return mtlue.protect(kind(dataset * 3), generator=generator, **settings)


def digest(safe: Any) -> str:
    return tensors_digest(safe.stored_image(index) for index in range(len(safe)))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], str]:
    """What one process writes, and returns."""
    path = tmp_path_factory.mktemp("whole") / "store"
    safe = protect(path)
    memory = protect(None)
    assert digest(memory) == digest(safe)
    return files_below(path), digest(safe)


@pytest.mark.parametrize("size", [2, 3])
def test_the_bytes_do_not_depend_on_the_number_of_ranks(tmp_path: Path, whole: Any, size: int) -> None:
    def call(rank: int) -> Any:
        with Written() as written:
            safe = protect(tmp_path / "store", check=True)
        return digest(safe), written.indices, safe.check.to_json(), len(safe), safe.generator is not None

    ended, results = at_ranks(size, call, tmp_path / "results")
    assert [each.error for each in ended] == [""] * size
    assert files_below(tmp_path / "store") == whole[0]
    assert sorted(os.listdir(tmp_path)) == ["results", "store"]
    # Each returns the same, and the one check.
    assert {each[0] for each in results.values()} == {whole[1]}
    assert len({each[2] for each in results.values()}) == 1
    assert all(each[3:] == [60, True] for each in results.values())
    # Nothing was made twice, and nobody was idle.
    assert sorted(index for each in results.values() for index in each[1]) == list(range(60))
    assert all(each[1] for each in results.values())


def test_ranks_of_a_process_group_share_too(tmp_path: Path, whole: Any) -> None:
    def call(rank: int) -> Callable[[], None]:
        def run() -> None:
            meeting = (tmp_path / "meeting").as_uri()
            torch.distributed.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
            try:
                with Written() as written, mock.patch.object(inspection, "each_batch", wraps=inspection.each_batch) as read:
                    assert digest(protect(tmp_path / "store")) == whole[1]
                assert 0 < len(written.indices) < 60
                # Each inspects a part.
                assert read.call_args.kwargs["indices"] == [range(30), range(30, 60)][rank]
            finally:
                torch.distributed.destroy_process_group()

        return run

    assert [each.error for each in at_once([call(0), call(1)])] == ["", ""]
    assert files_below(tmp_path / "store") == whole[0]


def protect_or_die(path: Path, *, dies: bool) -> str:
    """Protect, or be killed between the two batches of the second shard."""
    with Written() as written:

        def note(*arguments: Any, **named: Any) -> None:
            if dies and len(written.indices) > 6:
                os.kill(os.getpid(), signal.SIGKILL)
            write_bytes(*arguments, **named)

        with mock.patch("mtlue._formats.shard_writer.write_bytes", note):
            return digest(protect(path))


@pytest.mark.parametrize("dies", [0, 1])
def test_what_a_killed_rank_leaves_is_made_by_others(tmp_path: Path, whole: Any, dies: int) -> None:
    ended, results = at_ranks(2, lambda rank: protect_or_die(tmp_path / "store", dies=rank == dies), tmp_path / "results")
    assert ended[dies].signal == signal.SIGKILL
    if dies:
        assert results == {0: whole[1]}
    else:
        assert ended[1].error.startswith("TimeoutError: path: rank 0 has ended, or never began to write ")
        assert not (tmp_path / "store").exists()
        with Written() as written:
            assert digest(protect(tmp_path / "store")) == whole[1]
        # The other rank has made the rest.
        assert written.indices == []
    assert files_below(tmp_path / "store") == whole[0]
    assert sorted(os.listdir(tmp_path)) == ["results", "store"]


def test_another_call_on_the_path_is_refused_at_once(tmp_path: Path, whole: Any) -> None:
    path, told = tmp_path / "store", tmp_path / "told"
    shards = path.with_name("store.partial") / "shards"

    class Waiting(Slow):
        """A set that cannot be read to its end before the other call was refused."""

        def __getitem__(self, index: Any) -> Any:
            while shards.exists() and not told.exists():
                time.sleep(0.01)
            return super().__getitem__(index)

    def refused() -> None:
        with (
            mock.patch.dict(os.environ, environment(0, 1)),
            pytest.raises(BlockingIOError, match="path: another call is writing"),
        ):
            protect(path)
        with mock.patch.dict(os.environ, environment(1, 2)), pytest.raises(BlockingIOError, match="another call is writing"):
            protect(path)
        with mock.patch.dict(os.environ, environment(2, 3)), pytest.raises(ValueError, match="call with another fraction"):
            protect(path, fraction=0.5)

    def call(rank: int) -> Any:
        if rank < 2:
            return digest(protect(path, kind=Waiting))
        while not shards.exists():
            time.sleep(0.01)
        try:
            refused()
        finally:
            told.touch()
        return whole[1]

    with mock.patch.object(work_folder, "_PATIENCE", 5.0):
        ended, results = at_ranks(3, lambda rank: _of_two(rank, call), tmp_path / "results")
    assert [each.error for each in ended] == [""] * 3
    assert set(results.values()) == {whole[1]}
    assert files_below(path) == whole[0]


def _of_two(rank: int, call: Callable[[int], Any]) -> Any:
    with mock.patch.dict(os.environ, {"WORLD_SIZE": "2"}):
        return call(rank)


@pytest.fixture
def as_rank(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], None]:
    def become(rank: int, size: int) -> None:
        for name, value in environment(rank, size).items():
            monkeypatch.setenv(name, value)

    return become


def test_a_rank_that_comes_late_finds_the_store(tmp_path: Path, whole: Any, as_rank: Any) -> None:
    as_rank(0, 2)
    assert digest(protect(tmp_path / "store")) == whole[1]
    as_rank(1, 2)
    with Written() as written:
        safe = protect(tmp_path / "store", check=True)
    assert (digest(safe), safe.check, written.indices) == (whole[1], None, [])
    assert os.listdir(tmp_path) == ["store"]


def test_a_rank_alone_does_not_wait_for_ever(tmp_path: Path, as_rank: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_folder, "_PATIENCE", 0.0)
    as_rank(1, 2)
    words = r"path: rank 0 has ended, or never began to write .*store\.partial; make the call on every rank"
    with pytest.raises(TimeoutError, match=words):
        protect(tmp_path / "store")
    assert os.listdir(tmp_path) == []


def test_ranks_need_a_path_and_a_trained_generator(tmp_path: Path, as_rank: Any) -> None:
    as_rank(1, 2)
    with pytest.raises(ValueError, match="path: expected a folder that all 2 ranks can write to, got None"):
        protect(None)
    with pytest.raises(ValueError, match="generator: expected a trained one, because the 2 ranks are in no process group"):
        killed_run.protect("em", tmp_path / "store")
    assert os.listdir(tmp_path) == []
