"""Calls of two ranks, broken off on one of them at some of their operations; `benchmarks/robustness.py` takes more."""

from __future__ import annotations

from pathlib import Path

import pytest

import rank_faults
from rank_faults import RankVerb, Whole
from rank_verbs import VERBS
from verb import RESULT, Verb

ALONE, GROUPED, _ = VERBS


@pytest.fixture(scope="module")
def whole() -> Whole:
    return rank_faults.undisturbed(ALONE)


@pytest.mark.parametrize("rank", range(rank_faults.SIZE))
def test_a_call_of_which_a_rank_is_killed_is_made_whole_by_another(whole: Whole, rank: int) -> None:
    assert not rank_faults.after_kill(ALONE, whole, rank, whole.operations[rank] // 2)


def test_a_training_of_which_a_rank_is_killed_is_made_whole_by_another() -> None:
    whole = rank_faults.undisturbed(GROUPED)
    assert not rank_faults.after_kill(GROUPED, whole, 1, whole.operations[1] // 2)


def test_two_calls_of_two_ranks_leave_one_result(whole: Whole) -> None:
    assert rank_faults.after_two_calls(ALONE, whole, 0.05) == []


def test_a_disk_that_fails_on_a_rank_costs_nothing(whole: Whole) -> None:
    assert not rank_faults.after_error(ALONE, whole, 1, whole.operations[1] // 2)
    assert rank_faults.after_full_disk(ALONE, whole, whole.written // 2) == []


def test_a_call_that_leaves_half_a_result_is_found_out() -> None:
    def write(folder: Path) -> str:
        # Both write the same name, and do not replace it in one step.
        (folder / RESULT).write_text("whole")
        return "done"

    each = RankVerb(Verb("careless", write), grouped=False)
    whole = rank_faults.undisturbed(each)
    found = rank_faults.after_full_disk(each, whole, 2)
    assert found is not None
    assert any(fault.startswith("left ['result']") for fault in found)
