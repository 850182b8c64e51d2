"""The figures of several ranks, and what the page shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import many_ranks
import render

FIGURES: dict[str, Any] = json.loads(many_ranks.RESULTS.read_text())


def test_the_page_shows_the_committed_figures() -> None:
    page = (Path(render.ROOT) / "docs" / "scale.md").read_text()
    assert f"<!-- table: ranks -->\n{many_ranks.table(FIGURES)}\n<!-- end -->" in page


def test_several_ranks_give_what_one_process_gives() -> None:
    assert [(each["loss"], each["ranks"]) for each in FIGURES["curves"]] == [
        (loss, world) for world in (2, 3) for loss in ("EM", "RestartedEM")
    ]
    for each in FIGURES["curves"]:
        assert each["steps"] == 50
        assert each["relative_difference"] <= 1e-4
    assert list(FIGURES["stores"]) == ["1", "2", "3"]
    assert len(set(FIGURES["stores"].values())) == 1


def test_killed_ranks_change_nothing() -> None:
    assert len(FIGURES["kills"]) == 20
    assert {each["rank"] for each in FIGURES["kills"]} == {0, 1}
    assert all(each["identical"] and each["signals"] == [9] for each in FIGURES["kills"])


def test_what_differs_is_told() -> None:
    figures = json.loads(json.dumps(FIGURES))
    figures["stores"]["3"] = "other"
    figures["kills"][0]["identical"] = False
    table = many_ranks.table(figures)
    assert "| equal | **different** |" in table
    assert "| 19 of 20 | – |" in table


def test_stores_of_one_generator_have_one_hash(tmp_path: Path) -> None:
    assert many_ranks.written(tmp_path / "one") == many_ranks.written(tmp_path / "two")
    assert len(list((tmp_path / "one").glob("*.bin"))) > 2


@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
def test_a_curve_has_the_loss_of_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(many_ranks, "EPOCHS", 1)
    assert len(many_ranks.curve("EM")) == 5
