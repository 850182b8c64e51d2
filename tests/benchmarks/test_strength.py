"""The measuring stick: what it counts, what its layers do, and a run that is not made again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import strength
from measure.cells import Cells
from measure.measuring import CHECK, MULTI, ROUNDED, SINGLE, Row, Scale, Stick
from measure.recipes import RECIPES, STUDENTS
from measure.sets import TASKS as TASK_COUNTS
from measure.sets import read_set
from measure.table import agreement, alone_table, attempts_table, rounding_table, table
from measure.victims import Training, learnability
from measure.views import moved
from sets.drawings import TASKS, draw

TINY = Scale(16, 96, 64, 192, 2, Training(epochs=1, width=2, batch_size=16))


def test_drawings_have_balanced_independent_tasks() -> None:
    images, labels = draw(600, size=16, seed=3)
    assert images.shape == (600, 3, 16, 16)
    assert images.dtype == torch.uint8
    for name, classes in TASKS.items():
        assert labels[name].bincount(minlength=classes).min() > 0.7 * 600 / classes
    again, _ = draw(600, size=16, seed=3)
    assert torch.equal(images, again)


def test_a_label_alone_has_the_images_of_its_set() -> None:
    alone, whole = (read_set(name, size=16, count=8, test_count=4) for name in ("drawings: paint", "drawings"))
    assert alone.tasks == TASK_COUNTS["drawings: paint"] == {"paint": TASKS["paint"]}
    for part, of_whole in ((alone.train, whole.train), (alone.test, whole.test)):
        assert torch.equal(part.pixels, of_whole.pixels)
        assert [*part.labels] == ["paint"]
        assert torch.equal(part.labels["paint"], of_whole.labels["paint"])


def test_one_draw_moves_an_image_and_its_twin() -> None:
    images = torch.rand(6, 3, 8, 8)
    first, second = moved(torch.cat([images, images], dim=1), flips=True).chunk(2, dim=1)
    assert torch.equal(first, second)
    assert not torch.equal(first, images)


@pytest.mark.parametrize("name", sorted({*RECIPES} - {"students, focus 4"}))
def test_committed_cells_are_found_again(name: str, tmp_path: Path) -> None:
    kept = json.loads((Path(strength.__file__).parent / "results/strength/cells.json").read_text())
    described = [record["made_from"].get("recipe") for record in kept.values()]
    assert RECIPES[name].described() in described


def test_a_run_gives_a_row_for_each_task_and_is_not_made_again(tmp_path: Path) -> None:
    cells = Cells(tmp_path / "work", tmp_path / "cells.json")
    stick = Stick(cells, TINY, None)
    students = replace(STUDENTS, batch_size=16)
    recipes = {"MTL-UE-EM": RECIPES["MTL-UE-EM"], "students": students}
    rows = [
        row
        for name, recipe in recipes.items()
        for row in stick.measure(
            "drawings", name, recipe, seed=0, victims=("multi-task", "single-task", "jpeg", "check", "rounding")
        )
    ]
    assert len([row for row in rows if row.victim != CHECK]) == 2 * 6 * len(TASKS)
    assert {row.task for row in rows if row.victim == CHECK} <= {*TASKS}
    cells.commit()
    lines = table(rows).splitlines()
    assert [line.split(" | ")[:3] for line in lines[2:]] == [["| drawings", name, "1"] for name in recipes]
    assert all("shape" in line for line in lines[2:])
    assert len(rounding_table(rows).splitlines()) == 2 + 2 * 3
    made = sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "work").rglob("*.json"))
    again = Stick(Cells(tmp_path / "work", tmp_path / "cells.json"), TINY, None)
    assert again.measure("drawings", "students", recipes["students"], seed=0, victims=("multi-task",))
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (tmp_path / "work").rglob("*.json")) == made
    finished = Stick(Cells(tmp_path / "elsewhere", tmp_path / "cells.json"), TINY, None, make=False)
    for name, recipe in recipes.items():
        kept = finished.measure("drawings", name, recipe, seed=0, victims=("multi-task", "rounding", "strong"))
        expected = [row for row in rows if row.recipe == name and row.victim in {MULTI, ROUNDED}]
        assert [str(row) for row in kept] == [str(row) for row in expected if row.treatment != "JPEG 10"]
    assert finished.measure("drawings", "students", recipes["students"], seed=1, victims=("multi-task",)) == []
    records = json.loads((tmp_path / "cells.json").read_text())
    budgets = {record["made_from"]["budget"] for record in records.values() if "recipe" in record["made_from"]}
    assert budgets == {TINY.budget}
    largest = [
        (again.cells.images(record["made_from"]).short() - stick.data("drawings").train.pixels.short()).abs().max()
        for record in records.values()
        if "recipe" in record["made_from"] and not {"stored", "check"} & {*record["made_from"]}
    ]
    assert all(0 < level <= 8 for level in largest)


def test_the_check_agrees_where_it_is_on_the_same_side() -> None:
    def row(victim: str, task: str, left: float) -> Row:
        return Row("set", "recipe", 0, victim, "", task, 0.9, 1.0, left, 1.0)

    rows = [row(MULTI, "a", 0.1), row(MULTI, "b", 0.9), row(CHECK, "a", 0.2), row(CHECK, "b", 0.25)]
    assert "for 1 of 2 tasks, and for 0 of 1 means" in agreement(rows)
    assert not agreement(rows[:2])
    assert not rounding_table(rows)


def test_a_label_alone_stands_beside_itself_among_all() -> None:
    def row(name: str, victim: str, task: str, left: float) -> Row:
        return Row(name, "recipe", 0, victim, "", task, 0.9, 1.0, left, 1.0)

    among = [
        row("set", MULTI, "a", 0.5),
        row("set", SINGLE, "a", 0.75),
        row("set", MULTI, "b", 0.1),
        row("other", MULTI, "a", 1.0),
    ]
    lines = alone_table([row("set: a", MULTI, "a", 0.25), row("set: b", MULTI, "b", 0.05)], among).splitlines()
    assert lines[2:] == ["| set | a | 1 | 0.25 | 0.50 | 0.75 |", "| set | b | 1 | 0.05 | 0.10 | – |"]


def test_of_three_attempts_the_check_keeps_one() -> None:
    def row(seed: int, victim: str, left: float, treatment: str = "") -> Row:
        return Row("set", "recipe", seed, victim, treatment, "a", 0.9, 1.0, left, 1.0)

    rows = [row(seed, CHECK, left) for seed, left in enumerate((0.3, 0.1, 0.2, 0.0))]
    rows += [row(seed, MULTI, left) for seed, left in enumerate((0.1, 0.4, 0.7, 0.0))]
    rows += [row(seed, SINGLE, left) for seed, left in enumerate((0.5, 0.6, 0.7))]
    # The fourth is one of the next three, of which two are missing.
    assert attempts_table(rows).splitlines()[2:] == ["| set | 0, 1, 2 | 0.40 | 0.40 | 0.60 | 0.60 | – | – |"]
    rows[1] = row(1, CHECK, 0.9)
    assert attempts_table(rows).splitlines()[2:] == ["| set | 0, 1, 2 | 0.40 | 0.70 | 0.60 | 0.70 | – | – |"]


def test_wrong_sets_are_named() -> None:
    with pytest.raises(ValueError, match=r"sets: expected some of .*, got 'faces'"):
        read_set("faces", size=16, count=4, test_count=4)
    with pytest.raises(ValueError, match="--root: utkface is read from a folder"):
        read_set("utkface", size=16, count=4, test_count=4)


def test_learnability_is_a_share_above_chance() -> None:
    assert learnability(0.5, 0.9, 2) == pytest.approx(0.0)
    assert learnability(0.7, 0.9, 2) == pytest.approx(0.5)
