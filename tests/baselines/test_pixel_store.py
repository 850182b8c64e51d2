"""The store of perturbations that a search goes on from: its resolution, its batches, and its room on the disk."""

from __future__ import annotations

import errno
import os
import resource
from pathlib import Path
from typing import Any

import pytest
import torch

from broken_search import make_surrogate, same_files, search
from killed_run import same_state
from mtlue._runtime import Ranks
from mtlue.baselines._pixel_store import PixelStore


def make_store(length: int, shape: tuple[int, int, int], folder: Path | None, *, epsilon: float = 1.0) -> PixelStore:
    """A store in blocks of four samples, with zeros."""
    store = PixelStore(length, shape, epsilon=epsilon, block_size=4, folder=folder)
    store.allocate()
    return store


def test_the_store_resolves_the_smallest_step(tmp_path: Path) -> None:
    epsilon, shape = 8 / 255, (1, 2, 2)
    delta = torch.tensor([-epsilon, epsilon, 0.0, 0.064 / 255, 1.0, -1.0, 1e-9, 5 / 255]).reshape(2, *shape)
    expected = torch.tensor([-epsilon, epsilon, 0.0, 0.064 / 255, epsilon, -epsilon, 0.0, 5 / 255]).reshape(2, *shape)
    for folder in (None, tmp_path):
        store = make_store(7, shape, folder, epsilon=epsilon)
        store.blocks[1].write(delta, round=0, start=5)
        # Half a unit of epsilon / 32767 away at most: 1/500 of the smallest step of the paper.
        assert (store.read([5, 6]) - expected).abs().max() <= epsilon / 65534 + 1e-9
        assert torch.equal(store.read([6, 0, 5])[[2, 0]], store.read(range(5, 7)))
        assert not store.read(range(5)).any()
    assert [file.stat().st_size for file in sorted(tmp_path.glob("*.bin"))] == [2 * 4 * 4, 2 * 3 * 4]
    # What was read and is written again does not drift.
    again = store.read([5, 6])
    store.blocks[1].write(again, round=1, start=5)
    assert torch.equal(store.read([5, 6]), again)


def test_a_store_is_taken_up(tmp_path: Path) -> None:
    make_store(8, (1, 1, 1), tmp_path).blocks[1].write(torch.ones(2, 1, 1, 1), round=2, start=5)
    (tmp_path / "000001.bin").write_bytes(bytes(8))
    store = PixelStore(8, (1, 1, 1), epsilon=1.0, block_size=4, folder=tmp_path)
    assert store.is_there
    # A rank that is behind finds the whole block done.
    assert [store.blocks[1].resume(round) for round in (1, 2, 3)] == [8, 7, 4]
    assert store.read(range(8)).flatten().tolist() == [0.0] * 5 + [1.0, 1.0, 0.0]
    (tmp_path / "000000.bin").unlink()
    assert not store.is_there


def test_ranks_take_their_own_blocks_and_then_those_that_nobody_has(tmp_path: Path) -> None:
    store = make_store(20, (1, 1, 1), tmp_path)
    assert [block.number for block in store.taken()] == [0, 1, 2, 3, 4]
    first, second = store.taken(Ranks(0, 2)), store.taken(Ranks(1, 2))
    assert [next(first).number, next(second).number] == [0, 1]
    # Neither waits for the other before everything else is done.
    assert [next(first).number for _ in range(3)] == [2, 4, 3]
    assert [next(second).number for _ in range(3)] == [4, 2, 0]
    assert [block.number for block in first] == [1]
    assert [block.number for block in second] == [3]


def test_the_file_has_its_blocks_before_it_is_written_to(tmp_path: Path) -> None:
    """A map of a file without them ends the process where the disk is full."""
    make_store(4, (3, 32, 32), tmp_path)
    status = (tmp_path / "000000.bin").stat()
    assert status.st_size == 4 * 3 * 32 * 32 * 2
    assert 512 * status.st_blocks >= status.st_size
    assert status.st_mode & 0o777 == 0o600


@pytest.mark.parametrize("how", ["no such call", "no such file system"])
def test_zeros_are_written_where_blocks_cannot_be_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    def refuse(*arguments: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if how == "no such call":
        monkeypatch.delattr(os, "posix_fallocate")
    else:
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    monkeypatch.setattr("mtlue.baselines._pixel_store._CHUNK", 1000)
    store = make_store(4, (3, 8, 8), tmp_path)
    assert (tmp_path / "000000.bin").read_bytes() == bytes(4 * 3 * 8 * 8 * 2)
    store.blocks[0].write(torch.ones(2, 3, 8, 8), round=0, start=0)
    assert store.read(range(4)).flatten(1).mean(dim=1).tolist() == [1.0] * 2 + [0.0] * 2


def test_a_disk_without_room_for_the_perturbations_is_told_of(
    whole_search: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def full(*arguments: int) -> None:
        calls.append(1)
        # The first block finds room.
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fallocate", full)
        words = (
            r"path: no room is left for .*safe\.partial; free some space and repeat the call, which goes on where it stopped"
        )
        with pytest.raises(OSError, match=words) as caught:
            search("em", tmp_path / "safe")
    assert caught.value.errno == errno.ENOSPC
    # What the first block has taken would keep the disk full.
    assert not list((tmp_path / "safe.partial" / "perturbations").iterdir())
    search("em", tmp_path / "safe")
    assert same_files(tmp_path / "safe", whole_search[0] / "em")


@pytest.mark.parametrize(
    ("kind", "size"), [("frozen", 100), ("frozen", 350), ("em", 100), ("em", 350), ("em", 500), ("em", 1500), ("em", 3000)]
)
def test_a_disk_that_becomes_full_costs_no_work(whole_search: Any, tmp_path: Path, kind: str, size: int) -> None:
    """Settings, images, perturbations and checkpoints are of these sizes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        with pytest.raises(OSError, match=r"path: no room is left for .*safe\.partial; free some space") as caught:
            search(kind, tmp_path / "safe")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG
    assert not list((tmp_path / "safe.partial").glob("*.draft"))
    net = make_surrogate()
    search(kind, tmp_path / "safe", net=net)
    assert same_files(tmp_path / "safe", whole_search[0] / kind)
    assert same_state(net, whole_search[1][kind])
