"""The figures of hostile runs, how files are tampered with, and what the page shows."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import good_runs
import rank_verbs
import render
import robustness
from robust.table import TRIALS, calls_table, fuzzed_table, tables, tampered_table
from robust.tampering import Kind, kinds, tampered
from writing_verbs import VERBS

FIGURES: dict[str, Any] = json.loads(robustness.RESULTS.read_text())


def test_the_page_shows_the_committed_figures() -> None:
    page = (Path(render.ROOT) / "docs" / "robustness.md").read_text()
    parts = {"calls": calls_table, "ranks": partial(calls_table, part="ranks"), "files": tampered_table, "fuzzed": fuzzed_table}
    for name, table in parts.items():
        assert f"<!-- table: robustness-{name} -->\n{table(FIGURES)}\n<!-- end -->" in page


def test_nothing_failed_in_as_many_runs_as_the_page_promises() -> None:
    assert list(FIGURES["calls"]) == [verb.name for verb in VERBS]
    for found in FIGURES["calls"].values():
        assert found["killed"] == found["failed"] == found["operations"] > 0
        assert (found["killed at random"], found["two at once"], found["full disk"]) == (40, 40, 10)
        assert found["faults"] == []
    assert list(FIGURES["ranks"]) == [each.verb.name for each in rank_verbs.VERBS]
    for found in FIGURES["ranks"].values():
        # Some never come: how often a rank looks for the other one differs.
        assert min(found["killed"], found["failed"]) > 0.85 * found["operations"]
        assert (found["killed at random"], found["two at once"], found["full disk"]) == (40, 40, 10)
        assert found["faults"] == []
    assert list(FIGURES["files"]) == list(kinds())
    assert sum(found["files"] for found in FIGURES["files"].values()) >= 2000
    for found in FIGURES["files"].values():
        assert (found["refused"] + found["equal"], found["faults"]) == (found["files"], [])
    assert FIGURES["fuzzed"]["calls"] >= 20_000
    assert FIGURES["fuzzed"]["anything else"] == 0


def test_good_runs_are_not_warned_of() -> None:
    page = (Path(render.ROOT) / "docs" / "robustness.md").read_text()
    assert f"<!-- table: good-runs -->\n{render.good_runs_text()}\n<!-- end -->" in page
    runs = json.loads(good_runs.RESULTS.read_text())
    assert len(runs) >= 20
    assert all(run["R"] < good_runs.GOOD and not run["warnings"] for run in runs)


@pytest.mark.parametrize("name", [name for name in kinds() if "checkpoint" not in name and "Parquet" not in name])
def test_tampered_files_are_refused(name: str) -> None:
    found = tampered(kinds()[name], 10, seed=1)
    assert (found["refused"] + found["equal"], found["faults"]) == (10, [])


def test_a_reader_that_checks_nothing_is_found_out() -> None:
    trusting = Kind(lambda path: path.write_bytes(bytes(range(200))), lambda path: path.read_bytes())
    found = tampered(trusting, 20, seed=0)
    assert (found["files"], found["refused"]) == (20, 0)
    assert len(found["faults"]) == 20 - found["equal"] > 15
    failing = Kind(lambda path: path.write_bytes(bytes(9)), lambda path: path.read_bytes()[0] + path.read_bytes()[8])
    assert any("IndexError" in fault for fault in tampered(failing, 10, seed=0)["faults"])


def test_the_tables_say_what_was_found() -> None:
    call = {**dict.fromkeys(TRIALS, 2), "faults": ["killed, 1 write: left it"]}
    file = {"files": 1000, "refused": 998, "equal": 1, "faults": ["cut"]}
    fuzzed = {"a right result": 5, "an error that names the argument": 2, "anything else": 0}
    text = tables({"calls": {"a": call, "b": {**call, "faults": []}}, "files": {"store": file}, "fuzzed": fuzzed})
    assert (
        "| a | 2 | 2 | 2 | 2 | 2 | 2 | 1 |\n| b | 2 | 2 | 2 | 2 | 2 | 2 | 0 |\n| **all** | 4 | 4 | 4 | 4 | 4 | 4 | 1 |" in text
    )
    assert "| store | 1,000 | 998 | 1 | 1 |" in text
    assert "| **all** | 7 |" in text


def test_the_command_line_goes_on_and_fails_with_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    made: list[int] = []

    def once(kind: Any, count: int, seed: int) -> dict[str, Any]:
        made.append(count)
        return {"files": 1, "refused": 0, "equal": 0, "faults": ["flipped: other content was loaded"]}

    monkeypatch.setattr(robustness, "tampered", once)
    words = ["robustness.py", "--json", str(tmp_path / "figures.json"), "--only", "export, NumPy", "--files", "7"]
    monkeypatch.setattr(robustness, "verbs", dict)
    monkeypatch.setattr(sys, "argv", words)
    for _ in range(2):
        with pytest.raises(SystemExit, match="True"):
            robustness.main()
    assert made == [7]
    assert "| export, NumPy | 1 | 0 | 0 | 1 |" in capsys.readouterr().out
    assert json.loads((tmp_path / "figures.json").read_text())["files"]["export, NumPy"]["files"] == 1
