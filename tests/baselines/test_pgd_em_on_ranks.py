"""Several ranks alternate between a surrogate and perturbations, as one process does."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from broken_search import make_surrogate, search
from faults import Ended
from mtlue._runtime import Ranks, tensors_digest
from mtlue.baselines._alternation import Alternation
from mtlue.baselines._pixel_store import PixelBlock, PixelStore
from rank_copies import at_ranks, small_shards
from verb import files_below

# Four blocks of a batch each, the last of two samples; three rounds.
BLOCKS, ROUNDS = [0, 6, 12, 18], 3


class Searched:
    """Notes the batches that this process searches, in this context."""

    def __init__(self, before: Callable[[int], object] = lambda count: None) -> None:
        self.batches: list[tuple[int, int]] = []
        self._before, self._write = before, PixelBlock.write

    def __enter__(self) -> Searched:
        def noting(block: PixelBlock, delta: Any, *, round: int, start: int, **named: Any) -> None:
            self._before(len(self.batches))
            self.batches.append((round, start))
            self._write(block, delta, round=round, start=start, **named)

        self._patch = mock.patch.object(PixelBlock, "write", noting)
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()


def em(path: Path, before: Callable[[int], object] = lambda count: None, **changes: Any) -> tuple[str, list[tuple[int, int]]]:
    """Search, and return the digest of the surrogate that EM has trained, and what this process has searched."""
    net = make_surrogate()
    # Steps so small that few pixels come to the bound, where what was left out would not show.
    with small_shards(), Searched(before) as searched:
        search("em", path, net=net, step_size=0.4 / 255, **changes)
    return tensors_digest(net.state_dict().values()), searched.batches


def at(size: int, folder: Path, *, dying: int | None = None, at_batch: int = 0, **changes: Any) -> tuple[list[Ended], Any]:
    """Search with several ranks, one of which may be killed before it writes a batch, once all have begun."""
    here = folder / "here"
    here.mkdir(exist_ok=True)

    def before(rank: int) -> Callable[[int], object]:
        def wait(count: int) -> None:
            while dying is not None and len(list(here.iterdir())) < size:
                time.sleep(0.01)
            if rank == dying and count == at_batch:
                os.kill(os.getpid(), signal.SIGKILL)
            # So that each finds something to do.
            time.sleep(0.01)

        return wait

    def call(rank: int) -> Any:
        def taken(store: PixelStore, ranks: Ranks, take: Any = PixelStore.taken) -> Any:
            (here / str(rank)).touch()
            return take(store, ranks)

        with mock.patch.object(PixelStore, "taken", taken):
            return em(folder / "store", before(rank), **changes)

    ended, results = at_ranks(size, call, folder / f"results of {size}")
    shutil.rmtree(here)
    return ended, results


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], str]:
    """What one process writes, and the surrogate that it has trained, which do not depend on the blocks."""
    path = tmp_path_factory.mktemp("whole") / "store"
    digest, batches = em(path)
    assert batches == [(round, start) for round in range(ROUNDS) for start in BLOCKS]
    return files_below(path), digest


@pytest.mark.parametrize("size", [2, 3])
def test_the_bytes_do_not_depend_on_the_number_of_ranks(whole: Any, tmp_path: Path, size: int) -> None:
    ended, results = at(size, tmp_path)
    assert [each.error for each in ended] == [""] * size
    assert files_below(tmp_path / "store") == whole[0]
    assert [digest for digest, _ in results.values()] == [whole[1]] * size
    searched = sorted(tuple(batch) for _, batches in results.values() for batch in batches)
    assert searched == [(round, start) for round in range(ROUNDS) for start in BLOCKS]
    assert sorted(os.listdir(tmp_path)) == [f"results of {size}", "store"]


def test_all_ranks_stop_when_the_surrogate_has_learned(tmp_path: Path) -> None:
    ended, results = at(2, tmp_path, stop_accuracy=0.01)
    assert [each.error for each in ended] == ["", ""]
    assert sorted(tuple(batch) for _, batches in results.values() for batch in batches) == [(0, start) for start in BLOCKS]


def test_what_a_killed_rank_leaves_is_searched_by_another(whole: Any, tmp_path: Path) -> None:
    ended, results = at(2, tmp_path, dying=1)
    assert ended[0].error == ""
    assert ended[1].signal == signal.SIGKILL
    assert files_below(tmp_path / "store") == whole[0]
    assert sorted(set(map(tuple, results[0][1]))) == sorted(map(tuple, results[0][1]))


@pytest.mark.parametrize("at_batch", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [1, 3])
def test_without_the_first_rank_the_search_stops_and_is_taken_up(whole: Any, tmp_path: Path, at_batch: int, size: int) -> None:
    ended, _ = at(2, tmp_path, dying=0, at_batch=at_batch)
    assert ended[0].signal == signal.SIGKILL
    assert ended[1].error.startswith("TimeoutError: path: rank 0 has ended, or never began to write ")
    ended, results = at(size, tmp_path)
    assert [each.error for each in ended] == [""] * size
    assert files_below(tmp_path / "store") == whole[0]
    assert {digest for digest, _ in results.values()} == {whole[1]}


def test_a_rank_waits_while_the_first_begins_anew(whole: Any, tmp_path: Path) -> None:
    """It has found the state of a killed call, whose perturbations are gone."""
    at(1, tmp_path, dying=0, at_batch=6)
    for gone in (tmp_path / "store.partial" / "perturbations").glob("*/000001.*"):
        gone.unlink()
    ended, _ = at(3, tmp_path)
    assert [each.error for each in ended] == [""] * 3
    assert files_below(tmp_path / "store") == whole[0]


@pytest.mark.parametrize("removed", [False, True])
def test_what_is_published_is_not_searched_again(whole: Any, tmp_path: Path, removed: bool) -> None:
    with (
        mock.patch("mtlue._formats.work_folder.remove_folder", side_effect=KeyboardInterrupt),
        pytest.raises(KeyboardInterrupt),
    ):
        em(tmp_path / "store")
    if removed:
        # The removal had come as far as that.
        (tmp_path / "store.partial" / "surrogate.pt").unlink()
    ended, results = at(2, tmp_path)
    assert [each.error for each in ended] == ["", ""]
    assert [batches for _, batches in results.values()] == [[], []]
    assert (results[0][0] == whole[1]) == (not removed)
    assert sorted(os.listdir(tmp_path)) == ["results of 2", "store"]


def test_a_rank_does_not_go_on_in_another_search(tmp_path: Path) -> None:
    """Somebody has removed the folder and begun anew, while it was busy."""
    take_up = Alternation._take_up

    def elsewhere(alternation: Alternation, **named: Any) -> Any:
        found = take_up(alternation, **named)
        if alternation._ranks.rank:
            alternation._name = "other"
        return found

    with mock.patch.object(Alternation, "_take_up", elsewhere):
        ended, _ = at(2, tmp_path)
    assert ended[0].error == ""
    assert ended[1].error.startswith("TimeoutError: path: rank 0 has ended, or never began to write ")
