"""The script that compares several ranks with one process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import many_ranks
import render

FIGURES: dict[str, Any] = {
    "curves": [
        {"loss": "EM", "ranks": 2, "steps": 50, "relative_difference": 1.5e-5},
        {"loss": "EM", "ranks": 3, "steps": 50, "relative_difference": 2.5e-6},
    ],
    "stores": {"1": "a", "2": "a", "3": "a"},
    "kills": [{"rank": 0, "share": 0.5, "signals": [9], "identical": True}] * 2,
}


COMMITTED: dict[str, Any] = json.loads(many_ranks.RESULTS.read_text())


def test_the_page_shows_the_committed_figures() -> None:
    page = (Path(render.ROOT) / "docs" / "scale.md").read_text()
    assert f"<!-- table: ranks -->\n{many_ranks.table(COMMITTED)}\n<!-- end -->" in page


def test_several_ranks_give_what_one_process_gives() -> None:
    found = [(each["loss"], each["ranks"]) for each in COMMITTED["curves"]]
    assert found == [(loss, world) for world in (2, 3) for loss in ("EM", "RestartedEM")]
    for each in COMMITTED["curves"]:
        assert each["steps"] == 50
        assert each["relative_difference"] <= 1e-4
    assert list(COMMITTED["stores"]) == ["1", "2", "3"]
    assert len(set(COMMITTED["stores"].values())) == 1


def test_killed_ranks_change_nothing() -> None:
    assert len(COMMITTED["kills"]) == 20
    assert {each["rank"] for each in COMMITTED["kills"]} == {0, 1}
    assert all(each["identical"] and each["signals"] for each in COMMITTED["kills"])


def test_the_table_tells_what_differs() -> None:
    lines = many_ranks.table(FIGURES).splitlines()
    assert lines[2].endswith("in 50 steps | 1.5e-05 | 2.5e-06 |")
    assert lines[3].endswith("| equal | equal |")
    assert lines[4].endswith("| 2 of 2 | – |")
    other = json.loads(json.dumps(FIGURES))
    other["stores"]["3"] = "b"
    other["kills"][0]["identical"] = False
    lines = many_ranks.table(other).splitlines()
    assert lines[3].endswith("| equal | **different** |")
    assert lines[4].endswith("| 1 of 2 | – |")


def test_stores_of_one_generator_have_one_hash(tmp_path: Path) -> None:
    assert many_ranks.written(tmp_path / "one") == many_ranks.written(tmp_path / "two")
    assert len(list((tmp_path / "one").glob("*.bin"))) > 2


@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
def test_a_curve_has_the_loss_of_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_ranks, "EPOCHS", 1)
    assert len(many_ranks.curve("EM")) == 5


@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
def test_a_rank_that_is_killed_starts_again_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_ranks, "BROKEN_EPOCHS", 1)
    (made,) = [each[-1] for each in many_ranks.kills([], 1)]
    assert (made["signals"], made["identical"]) == ([9], True)
