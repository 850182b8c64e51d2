"""An audit, and the report that it gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import mtlue
from mtlue.baselines import random_noise
from mtlue.defenses import AdversarialTraining, Defense, EarlyStopping, grayscale
from mtlue.evaluation import Measurement, Report, SelectedTasks, audit
from two_tasks import OPTIONS, TASKS, two_task_set


def sizes(*sides: int) -> list[tuple[Tensor, Tensor]]:
    """An image of each size."""
    return [(torch.rand(1, side, side), torch.full((2,), index)) for index, side in enumerate(sides)]


@pytest.fixture(scope="module")
def sets() -> tuple[Any, TensorDataset, TensorDataset]:
    """A protected, a clean and a test set; the protection flips every label's meaning, so that victims learn the opposite."""
    clean, test = two_task_set(64, 0), two_task_set(64, 1)
    protected = random_noise(clean, tasks=TASKS, epsilon=8 / 255)
    protected._images = list((256 - clean.tensors[0].int()).byte())  # type: ignore[assignment]
    return protected, clean, test


@pytest.fixture(scope="module")
def report(sets: tuple[Any, TensorDataset, TensorDataset]) -> Report:
    protected, clean, test = sets
    return audit(protected, clean, test, defenses=(grayscale, EarlyStopping(test)), seeds=(0, 1), **OPTIONS)


def test_every_victim_that_was_asked_for_is_measured(report: Report) -> None:
    kinds = {(each.victim, each.defense, each.data, each.task, each.seed) for each in report.measurements}
    expected = {
        (victim, "none", data, task, seed)
        for victim in ("multi-task", "single-task")
        for data in ("clean", "random noise", "protected")
        for task in TASKS
        for seed in (0, 1)
    } | {
        ("multi-task", defense, data, task, seed)
        for defense in ("grayscale", "EarlyStopping")
        for data in ("clean", "protected")
        for task in TASKS
        for seed in (0, 1)
    }
    assert kinds == expected
    assert len(report.measurements) == len(expected)


def test_the_control_learns_and_the_misled_do_not(report: Report) -> None:
    for row in report.rows():
        if row.defense == "none":
            assert row.values["clean"] > 0.9
            assert row.residuals["random noise"] > 0.8
            assert row.residuals["protected"] < 0.3
    assert set(report.residual_learnability) == set(TASKS)


def test_best_is_the_best_epoch_and_last_the_last(report: Report) -> None:
    for each in report.measurements:
        assert 1 <= each.best_epoch <= 16
    by_victim: dict[Any, list[Measurement]] = {}
    for each in report.measurements:
        by_victim.setdefault(
            (each.victim, each.defense, each.data, each.seed, each.task if each.victim == "single-task" else ""), []
        ).append(each)
    for group in by_victim.values():
        mean_best = sum(each.best["balanced_accuracy"] for each in group)
        mean_last = sum(each.last["balanced_accuracy"] for each in group)
        if group[0].defense == "none":
            assert mean_best >= mean_last
        elif group[0].defense == "EarlyStopping":  # it is given the test set, and ends with its best epoch
            assert mean_best == pytest.approx(mean_last)


def test_the_best_epoch_of_a_model_whose_accuracies_are_known(sets: tuple[Any, TensorDataset, TensorDataset]) -> None:
    """Right about the one label in the second of three epochs, wrong in the others."""

    class Scripted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.unused = nn.Parameter(torch.zeros(1))
            self.epoch = 0

        def set_epoch(self, epoch: int, epochs: int) -> None:
            self.epoch = epoch

        def forward(self, images: Tensor) -> Tensor:
            upper, lower = images[..., :4, :].mean(dim=(1, 2, 3)), images[..., 4:, :].mean(dim=(1, 2, 3))
            right = (upper - lower) * (1 if self.epoch == 1 else -1)
            return torch.stack([-right, right], dim=1) + 0 * self.unused

    protected, clean, test = (SelectedTasks(each, TASKS, ["side"]) for each in sets)
    options = {**OPTIONS, "model": lambda tasks: Scripted(), "epochs": 3}
    found = audit(protected, clean, test, **options)
    for each in found.measurements:
        assert each.best_epoch == 2
        assert each.best["accuracy"] > 0.95
        assert each.last["accuracy"] < 0.05


def test_json_holds_the_whole_report(report: Report) -> None:
    again = Report.from_json(report.to_json())
    assert again.tasks == report.tasks
    assert list(again.measurements) == list(report.measurements)
    assert json.loads(report.to_json())["settings"]["seeds"] == [0, 1]
    assert again.to_markdown() == report.to_markdown()


def test_the_chart_is_a_picture_and_a_figure_that_a_notebook_shows(report: Report, tmp_path: Path) -> None:
    written = report.plot(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    shown = report.plot()
    assert [axes.get_title("left") for axes in shown.axes] == [axes.get_title("left") for axes in written.axes] != []
    assert report._repr_markdown_() == report.to_markdown()


def test_a_module_for_all_tasks_serves_single_task_victims(sets: tuple[Any, TensorDataset, TensorDataset]) -> None:
    told: list[tuple[int, int]] = []

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.ModuleList(nn.Linear(64, 2) for _ in TASKS)

        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            return tuple(head(images.flatten(1)) for head in self.heads)

        def set_epoch(self, epoch: int, epochs: int) -> None:
            told.append((epoch, epochs))

    protected, clean, test = sets
    found = audit(protected, clean, test, single_task=["shade"], **{**OPTIONS, "model": Pair(), "epochs": 1})
    assert {each.task for each in found.measurements if each.victim == "single-task"} == {"shade"}
    # Three sets, and a victim of both tasks and of one on each.
    assert told == [(0, 1)] * 6


def test_defenses_of_one_kind_are_told_apart(sets: tuple[Any, TensorDataset, TensorDataset]) -> None:
    protected, clean, test = sets
    pair = (AdversarialTraining(steps=1), AdversarialTraining(steps=2))
    found = audit(protected, clean, test, single_task=(), defenses=pair, **{**OPTIONS, "epochs": 1})
    assert {each.defense for each in found.measurements} == {"none", *map(repr, pair)}


@pytest.mark.parametrize(
    ("defenses", "message"),
    [
        ([AdversarialTraining], "defense: expected an object such as AdversarialTraining"),
        ([lambda images: None], "to return images, got NoneType"),
        (grayscale, "defenses: expected a list of defences"),
        ("jpeg", "defenses: expected a list of defences"),
    ],
)
def test_wrong_defenses_are_told_before_anything_is_trained(
    sets: tuple[Any, TensorDataset, TensorDataset], defenses: Any, message: str
) -> None:
    protected, clean, test = sets
    with pytest.raises(TypeError, match=message):
        audit(protected, clean, test, defenses=defenses, **OPTIONS)


def test_a_defense_that_forgets_a_task_is_told(sets: tuple[Any, TensorDataset, TensorDataset]) -> None:
    class Forgetful(Defense):
        def losses(self, victim: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
            return {"side": victim.losses(images, targets)["side"]}

    with pytest.raises(
        ValueError, match=r"expected Forgetful to return a loss for each of \['side', 'shade'\], got \['side'\]"
    ):
        audit(*sets, defenses=[Forgetful()], **OPTIONS)


def test_what_is_no_list_of_names_is_no_choice_of_victims(sets: tuple[Any, TensorDataset, TensorDataset]) -> None:
    for wrong, got in ((False, "bool"), (3, "int"), ("side", "'side'")):
        message = rf"^single_task: expected names of tasks \(\[\] for none\), got {got}$"
        with pytest.raises(TypeError, match=message):
            audit(*sets, single_task=wrong, **OPTIONS)  # type: ignore[arg-type]


def test_no_single_task_victims_when_none_are_named(sets: tuple[Any, TensorDataset, TensorDataset]) -> None:
    protected, clean, test = sets
    found = audit(protected, clean, test, single_task=(), **{**OPTIONS, "epochs": 1})
    assert {each.victim for each in found.measurements} == {"multi-task"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"clean": two_task_set(5, 0)}, "clean: expected the 64 samples of the protected set, got 5"),
        ({"single_task": ["size"]}, "single_task: unknown \\['size'\\]"),
        ({"seeds": ()}, "seeds: expected at least one"),
        ({"defenses": (grayscale, grayscale)}, "defenses: expected each once"),
        ({"defenses": (lambda images: images[:, :, :4],)}, "to return images of the same shape"),
        ({"test": two_task_set(4, 0).tensors[0]}, "test: "),
        ({"test": [(torch.rand(3, 8, 8), torch.zeros(2))]}, "test: expected images of 1 channels as in the clean set, got 3"),
        (
            {"protected": two_task_set(64, 0)},
            "tasks: the protected set has no attribute of that name, give .* the arguments are protected, clean, test",
        ),
        ({"test": sizes(8, 9)}, r"image_size: expected a size such as image_size=\(64, 64\), because the images have 2 sizes"),
    ],
)
def test_wrong_arguments_are_named(
    sets: tuple[Any, TensorDataset, TensorDataset], changes: dict[str, Any], message: str
) -> None:
    protected, clean, test = sets
    arguments = {"protected": protected, "clean": clean, "test": test, **OPTIONS, **changes}
    with pytest.raises(ValueError, match=message):
        audit(**arguments)


def test_sets_in_the_wrong_order_are_told(sets: tuple[Any, TensorDataset, TensorDataset]) -> None:
    protected, clean, test = sets
    with pytest.raises(
        ValueError, match=r"clean: expected samples without protection, .* the arguments are protected, clean, test"
    ):
        audit(SelectedTasks(clean, TASKS, list(TASKS)), protected, test, **OPTIONS)
    with pytest.raises(ValueError, match="clean: expected samples without protection"):
        audit(clean, protected, test, **OPTIONS)
