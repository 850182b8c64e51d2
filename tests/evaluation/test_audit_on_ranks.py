"""An audit whose victims are shared out between ranks: its report is that of one process."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import ranks
from mtlue.evaluation import Report, _audit, _shared_victims
from resumed_victims import audit, fuse


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    """Afterwards no victim fails, and the global random numbers are put back."""
    with torch.random.fork_rng(devices=[]):
        yield
    fuse.at = 0


@pytest.fixture(scope="module")
def alone() -> Report:
    with torch.random.fork_rng(devices=[]):
        return audit(None, single_task=None)


def test_every_rank_gets_the_report_of_one_process(two: Any, alone: Report) -> None:
    assert [each["audit"]["report"] for each in two] == [alone.to_json()] * 2


def test_a_victim_that_fails_ends_all_ranks(two: Any) -> None:
    assert two[1]["failed victim"] == ("BrokenError", "")
    assert two[0]["failed victim"] == ("LostRankError", "rank 1 stopped: BrokenError: ")


class Turn:
    """One of two ranks that make the call one after the other, the last one first."""

    def __init__(self, rank: int, kept: list[Any]) -> None:
        self.rank, self.size, self.kept = rank, 2, kept
        self.agreed: dict[str, Any] = {}

    def agree(self, settings: dict[str, Any]) -> None:
        self.agreed = settings

    def gathered(self, value: Any) -> list[Any]:
        self.kept.insert(0, value)
        return self.kept


def test_ranks_divide_the_victims_that_are_left(tmp_path: Path, alone: Report, monkeypatch: pytest.MonkeyPatch) -> None:
    audit(tmp_path / "kept", single_task=[])
    run, trained, kept = _audit.run_training, [[], []], []

    def at(rank: int) -> Report:
        turn = Turn(rank, kept)

        def noted(training: Any, *arguments: Any) -> Any:
            trained[rank].append(str(training))
            return run(training, *arguments)

        monkeypatch.setattr(_audit, "run_training", noted)
        for module in (_audit, _shared_victims):
            monkeypatch.setattr(module, "current_job", lambda: turn)
        monkeypatch.setattr(_audit, "is_main", lambda: not rank)
        # What rank 1 keeps would already be there for rank 0, which looks at the same moment.
        folder = tmp_path / f"{rank}"
        shutil.copytree(tmp_path / "kept", folder)
        report = audit(folder, single_task=None)
        assert turn.agreed["victims"][0] == "multi-task on clean, seed 0"
        return report

    at(1)
    report = at(0)
    assert report.to_json() == alone.to_json()
    sets = ("clean", "random noise", "protected")
    left = [f"single-task of {task} on {data}, seed 0" for task in ranks.resumed_victims.TASKS for data in sets]
    assert trained == [left[::2], left[1::2]]
