"""The figures of speed: the page says what the files say, and a device that was not there says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import torch

import throughput
from rates.machine import flops_of, ratio
from rates.steps import by_side
from rates.table import throughput_table


def test_the_page_shows_the_figures() -> None:
    page = (throughput.RESULTS / "README.md").read_text()
    assert page == f"# Throughput\n\n{throughput_table(throughput.read(throughput.RESULTS))}"


def test_what_was_not_measured_says_so(tmp_path: Path) -> None:
    (tmp_path / "cpu.json").write_text((throughput.RESULTS / "cpu.json").read_text())
    table = throughput_table(throughput.read(tmp_path))
    rows = [line for line in table.splitlines() if line.startswith("| ") and "processor |" not in line]
    assert len(rows) > 5
    assert all(row.endswith("| not measured |") for row in rows)
    figures = json.loads((tmp_path / "cpu.json").read_text())
    assert f"{figures['by_tasks']['float32, batches of 32']['K=200 / K=3']:.2f} | not measured |" in table
    assert figures["machine"]["processor"] in table


def test_ratios_are_those_within_a_round() -> None:
    assert ratio({"a": [2.0, 30.0, 4.0], "b": [1.0, 10.0, 1.0]}, "a", "b") == 3.0


def test_operations_of_a_product() -> None:
    left, right = torch.rand(3, 5), torch.rand(5, 7)
    assert flops_of(lambda: left @ right) == 2 * 3 * 5 * 7


def test_a_batch_of_large_images_is_smaller() -> None:
    sizes = {"batch_size": 4, "sides": (16, 32), "pixels": 2 * 32**2}
    found = by_side(replace(throughput.SCALES["cpu"], **{**throughput.SHORT, **sizes}))["float32"]
    assert {side: each["batch_size"] for side, each in found.items()} == {"16": 4, "32": 2}
    assert all(each["flops"] > 0 for each in found.values())
