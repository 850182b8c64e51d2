"""What a large set costs: the arithmetic, and what it is made of."""

from __future__ import annotations

import pytest
import torch

import large_set
import render
from large_set import counted, files, steps
from rates.costs import Parts, costs_table, hours, parts, storage_table

EACH = Parts(
    batch_size=64,
    image_seconds=0.005,
    step_seconds=0.08,
    least_step_seconds=0.1,
    pretraining_step_seconds=0.064,
    generation_seconds=0.002,
    reading_seconds=0.016,
    png_seconds=0.01,
    stored_bytes=200_000,
    png_bytes=100_000.0,
    disk_bytes_a_second=1e8,
)


def in_seconds(gpus: int, trained_on: int | None = None) -> dict[str, float]:
    return {name: 3600 * value for name, value in hours(EACH, gpus, images=640_000, trained_on=trained_on).items()}


def test_stages_by_hand() -> None:
    # One pass of 10,000 steps; the surrogate learns from each image once.
    assert in_seconds(1) == pytest.approx({
        "read and check every sample": 640,
        "train": 4000 + 640,
        "check the result": 464,
        "protect": 1280,
        "write the store": 1280,
    })
    # Two machines of eight. A step cannot be shorter than a fourth of that on one.
    assert 0.08 + 64 / 16 * 0.005 == 0.1
    assert in_seconds(16) == pytest.approx({
        "read and check every sample": 640,
        "train": 1000 + 640,
        "check the result": 164,
        "protect": 80,
        "write the store": 640,
    })
    # A fifth of the images for the surrogate.
    assert in_seconds(1, trained_on=64_000)["train"] == pytest.approx(400 + 12.8)


def test_reading_may_take_longer_than_the_generation() -> None:
    slow = Parts(**{**vars(EACH), "reading_seconds": 0.16})
    assert 3600 * hours(slow, 1, images=1000)["protect"] == pytest.approx(10)


def test_tables_hold_the_sum() -> None:
    lines = costs_table(EACH).splitlines()
    cells = [[cell.strip("* ") for cell in line.split("|")[2:-1]] for line in lines[2:]]
    for column, total, paid in zip(zip(*cells[:-2], strict=True), cells[-2], cells[-1], strict=True):
        assert sum(map(float, column)) == pytest.approx(float(total), abs=0.03)
        assert float(paid) > 0
    assert storage_table(EACH).splitlines()[2:] == [
        "| in a store | 200 | |",
        "| exported as PNG: files, tar or Parquet | 100 | 2.8 |",
    ]


def test_parts_follow_the_figures() -> None:
    figures = {name: render.read(f"throughput/{name}") for name in ("large", "cpu", "cuda")}
    each = parts(**figures)
    assert each.stored_bytes == 3 * 256 * 256
    assert each.image_seconds > 2 * each.generation_seconds
    figures["cuda"]["by_side"]["bfloat16"]["128"]["flops"] *= 2
    assert parts(**figures).image_seconds == pytest.approx(each.image_seconds / 2)
    # What was timed on a GPU is what is counted here.
    timed, step = figures["cuda"]["by_side"]["bfloat16"]["256"], figures["large"]["steps"]["TAP"]
    an_image = step["flops_an_image"] + step["flops_a_step"] / timed["batch_size"]
    assert timed["flops"] * timed["ms_an_image"] / 1000 == pytest.approx(an_image, rel=0.02)


def test_operations_are_counted() -> None:
    left, right = torch.rand(3, 5, requires_grad=True), torch.rand(5, 7)

    def step() -> None:
        torch.autograd.grad((left @ right).sum(), left)

    flops, calls = counted(step)
    # Forward and backward.
    assert flops == 2 * 2 * 3 * 5 * 7
    assert calls >= 2


def test_what_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_set, "TASKS", 2)
    found = steps(side=32)
    assert found["default"]["flops_an_image"] > found["surrogate"]["flops_an_image"] > 0
    assert found["default"]["flops_an_image"] > found["generation"]["flops_an_image"] > 0
    assert found["default"]["calls"] > found["generation"]["calls"]
    measured = files(length=8, side=32, disk=2**20)
    assert all(value > 0 for value in measured.values())
