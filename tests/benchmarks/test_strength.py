"""The measuring stick: what it counts, what its layers do, and a run that is not made again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import mtlue
from measure import measuring
from measure.cells import Cells
from measure.jpeg_layer import jpeg_layer
from measure.measuring import CHECK, MULTI, ROUNDED, Row, Scale, Stick
from measure.misleading import Misleading
from measure.recipes import RECIPES, STUDENTS
from measure.sets import read_set
from measure.students import Students
from measure.table import agreement, rounding_table, table
from measure.victims import Training, learnability
from measure.views import moved
from mtlue.defenses import jpeg
from sets.drawings import TASKS, draw

TINY = Scale(16, 96, 64, 192, 2, Training(epochs=1, width=2, batch_size=16))
SHAPE = {"shape": 2}


def small(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 16, 2))


def batch() -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    torch.manual_seed(0)
    clean = torch.rand(8, 3, 4, 4)
    return (clean + 0.03 * torch.randn_like(clean)).clamp(0, 1).requires_grad_(True), clean, {"shape": torch.arange(8) % 2}


def test_drawings_have_balanced_independent_tasks() -> None:
    images, labels = draw(600, size=16, seed=3)
    assert images.shape == (600, 3, 16, 16)
    assert images.dtype == torch.uint8
    for name, classes in TASKS.items():
        assert labels[name].bincount(minlength=classes).min() > 0.7 * 600 / classes
    again, _ = draw(600, size=16, seed=3)
    assert torch.equal(images, again)


def test_one_draw_moves_an_image_and_its_twin() -> None:
    images = torch.rand(6, 3, 8, 8)
    first, second = moved(torch.cat([images, images], dim=1), flips=True).chunk(2, dim=1)
    assert torch.equal(first, second)
    assert not torch.equal(first, images)


def test_the_jpeg_layer_is_near_the_encoder_and_lets_gradients_through() -> None:
    images, _ = draw(20, size=32, seed=0)
    floats = (images.float() / 255).requires_grad_(True)
    seen = jpeg_layer(floats, 10)
    real = jpeg(floats.detach(), quality=10)
    assert (seen - real).abs().mean() < 0.2 * (floats - real).abs().mean()
    torch.autograd.backward(seen.sum())
    assert floats.grad is not None
    assert floats.grad.abs().sum() > 0


def test_students_learn_in_the_same_call_and_give_the_gradient_of_their_loss() -> None:
    images, clean, targets = batch()
    surrogate = mtlue.Surrogate(nn.Identity(), SHAPE)
    loss = Students(small, others=False, restart=3)
    before = mtlue.Surrogate(small(loss.learners[0].generation + 1000 * loss.learners[0].seed), SHAPE)
    value = loss(surrogate, images, targets, clean)
    (gradient,) = torch.autograd.grad(value, images)
    expected = before.loss(images, targets)
    assert torch.allclose(value, expected)
    assert torch.allclose(gradient, torch.autograd.grad(expected, images)[0], atol=1e-7)
    values = [loss(surrogate, images, targets, clean).item() for _ in range(3)]
    assert values[1] < values[0] < value.item()
    # The third step was the last one of the first student.
    assert values[2] > values[1]


def test_students_see_the_perturbation_on_other_images_whose_content_says_nothing() -> None:
    images, clean, targets = batch()
    seen: list[Tensor] = []

    class Watching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = small(0)

        def forward(self, images: Tensor) -> Tensor:
            seen.append(images.detach())
            answer: Tensor = self.inner(images)
            return answer

    Students(lambda seed: Watching(), own=False)(mtlue.Surrogate(nn.Identity(), SHAPE), images, targets, clean)
    content = seen[0] - (images - clean).detach()
    distances = torch.cdist(content.flatten(1), clean.flatten(1))
    assert sorted(distances.argmin(dim=1).tolist()) == list(range(8))
    assert distances.argmin(dim=1).tolist() != list(range(8))


def test_losses_with_students_go_on_where_they_stopped() -> None:
    images, clean, targets = batch()
    surrogate = mtlue.Surrogate(nn.Identity(), SHAPE)
    for make in (lambda: Students(small, count=2, restart=5), lambda: Misleading(small, restart=5, power=0.5)):
        whole, first, second = make(), make(), make()
        for _ in range(3):
            torch.manual_seed(1)
            whole(surrogate, images, targets, clean)
            torch.manual_seed(1)
            first(surrogate, images, targets, clean)
        second.load_state_dict(first.state_dict())
        for _ in range(4):
            torch.manual_seed(1)
            expected = whole(surrogate, images, targets, clean)
            torch.manual_seed(1)
            assert torch.equal(second(surrogate, images, targets, clean), expected)


def test_a_run_gives_a_row_for_each_task_and_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measuring, "_CHECK_COUNT", 32)
    cells = Cells(tmp_path / "work", tmp_path / "cells.json")
    stick = Stick(cells, TINY, None)
    students = replace(STUDENTS, batch_size=16, misleading=1.0, power=0.5)
    recipes = {"MTL-UE-EM": RECIPES["MTL-UE-EM"], "students": students}
    rows = [
        row
        for name, recipe in recipes.items()
        for row in stick.measure(
            "drawings", name, recipe, seed=0, victims=("multi-task", "single-task", "jpeg", "check", "rounding")
        )
    ]
    assert len(rows) == 2 * 7 * len(TASKS)
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
        if "recipe" in record["made_from"] and "stored" not in record["made_from"]
    ]
    assert all(0 < level <= 8 for level in largest)


def test_the_check_agrees_where_it_is_on_the_same_side() -> None:
    def row(victim: str, task: str, left: float) -> Row:
        return Row("set", "recipe", 0, victim, "", task, 0.9, 1.0, left, 1.0)

    rows = [row(MULTI, "a", 0.1), row(MULTI, "b", 0.9), row(CHECK, "a", 0.2), row(CHECK, "b", 0.25)]
    assert "for 1 of 2 tasks, and for 0 of 1 means" in agreement(rows)
    assert not agreement(rows[:2])
    assert not rounding_table(rows)


def test_wrong_sets_are_named() -> None:
    with pytest.raises(ValueError, match=r"sets: expected some of .*, got 'faces'"):
        read_set("faces", size=16, count=4, test_count=4)
    with pytest.raises(ValueError, match="--root: utkface is read from a folder"):
        read_set("utkface", size=16, count=4, test_count=4)


def test_learnability_is_a_share_above_chance() -> None:
    assert learnability(0.5, 0.9, 2) == pytest.approx(0.0)
    assert learnability(0.7, 0.9, 2) == pytest.approx(0.5)
