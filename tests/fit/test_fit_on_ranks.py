"""One generator, trained over several processes: the same as on one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

import ranks
from optional import needs
from snapshots import equal

pytestmark = pytest.mark.filterwarnings("ignore:surrogate. no better than chance")


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return {name: call() for name, call in ranks.ALIKE.items()}


@pytest.mark.parametrize(
    ("name", "world"), [*((name, "two") for name in ranks.ALIKE), ("EM", "three"), ("RestartedEM", "three")]
)
def test_ranks_train_as_one_process_does(name: str, world: str, alone: Any, request: pytest.FixtureRequest) -> None:
    found = [each[name] for each in request.getfixturevalue(world)]
    together, single = (torch.tensor(each["curve"]).split([2, 1], dim=1) for each in (found[0], alone[name]))
    # Within 1e-4 where it was measured; other processors round other sums.
    torch.testing.assert_close(together[0], single[0], rtol=1e-3, atol=0)
    # An answer more or less.
    torch.testing.assert_close(together[1], single[1], rtol=0, atol=0.1)
    assert all(equal(each, found[0]) for each in found)


def test_all_start_with_the_weights_of_the_first(two: Any) -> None:
    assert all(equal(each["other weights"], two[0]["equal weights"]) for each in two)


def test_protect_trains_on_all_ranks_and_shares_out_the_images(two: Any, tmp_path: Path) -> None:
    assert equal(two[0]["protect"], two[1]["protect"])
    alone = ranks.protected(tmp_path / "store")
    # Adam amplifies how the last digits of a sum were rounded. Trained apart, images differ by four levels.
    assert (two[0]["protect"]["images"].int() - alone["images"].int()).abs().float().mean() < 2


def test_the_first_rank_chooses_among_attempts(two: Any) -> None:
    assert equal(two[0]["attempts"], two[1]["attempts"])
    assert two[0]["attempts"]["check"]


def test_a_lack_of_memory_on_one_rank_halves_the_batch_on_all(two: Any) -> None:
    assert equal(two[0]["memory"], two[1]["memory"])
    assert torch.tensor(two[0]["memory"]["curve"]).isfinite().all()


def test_what_ends_one_rank_ends_the_others(two: Any) -> None:
    assert two[1]["error"] == ("ValueError", "of its own")
    assert two[0]["error"] == ("LostRankError", "rank 1 stopped: ValueError: of its own")
    assert two[0]["interrupt"][0] == "KeyboardInterrupt"
    assert two[1]["interrupt"] == ("LostRankError", "rank 0 stopped: KeyboardInterrupt: ")
    assert two[1]["no memory"][0] == "OutOfMemoryError"
    assert two[0]["no memory"] == ("LostRankError", "rank 1 stopped: OutOfMemoryError: out of memory")


def test_ranks_with_other_arguments_refuse_each_other(two: Any) -> None:
    assert two[0]["seeds"] == ("ValueError", "rank 1 was called with other arguments than rank 0 (epochs was 2, is 1)")
    assert two[1]["seeds"] == ("ValueError", "rank 0 was called with other arguments than rank 1 (epochs was 1, is 2)")


def test_a_rank_that_is_left_alone_says_so(two: Any) -> None:
    kind, text = two[0]["alone"]
    assert kind == "LostRankError"
    assert text.startswith("waited 1 s for rank 1 of 2, which did not come; call it on all ranks")


def test_a_killed_rank_ends_all_and_a_restart_goes_on(tmp_path: Path, two: Any) -> None:
    found, said = ranks.torchrun(tmp_path, "torch")
    assert "exitcode: -9" in said
    assert re.search(r"going on after epoch 1 of 2 and \d+ samples", said)
    assert all(equal(each, two[0]["EM"]) for each in found)


@pytest.mark.parametrize(("launcher", "library"), [("accelerate", "accelerate"), ("fabric", "lightning_fabric")])
def test_the_group_of_a_library_is_taken_as_it_is(launcher: str, library: str, tmp_path: Path, two: Any) -> None:
    needs(library, extra="distributed")
    found, _ = ranks.torchrun(tmp_path, launcher)
    assert all(equal(each, two[0]["equal weights"]) for each in found)
