"""An audit of label maps, from training to the report."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mtlue
from mtlue._data import JointTransform
from mtlue.datasets import RandomZoomFlip
from mtlue.defenses import EarlyStopping, OrthogonalProjection, StrongAugmentation, grayscale
from mtlue.evaluation import Report, audit
from small_rooms import ROOMS, Pointwise, Room, rooms

OPTIONS: dict[str, Any] = {"model": Pointwise, "epochs": 25, "batch_size": 4, "learning_rate": 0.2, "progress": False}


class Mirror(JointTransform):
    """Mirrors whatever it is given, and turns the x of normals round."""

    def __call__(self, images: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        moved = {name: target.flip(-1) for name, target in targets.items()}
        if "normals" in moved:
            moved["normals"] = moved["normals"] * torch.tensor([-1.0, 1.0, 1.0]).reshape(3, 1, 1)
        return images.flip(-1), moved


class Misled(list[Room]):
    """Rooms with the labels of other rooms: nothing can be learned from them."""

    tasks = ROOMS


@pytest.fixture(scope="module")
def sets() -> tuple[Any, Any, Any]:
    """A set that misleads in place of a protected one, a clean and a test set."""
    clean, test = rooms(8, seed=0), rooms(8, seed=1)
    return Misled((image, target) for (image, _), (_, target) in zip(clean, rooms(8, seed=2), strict=True)), clean, test


@pytest.fixture(scope="module")
def report(sets: tuple[Any, Any, Any]) -> Report:
    return audit(*sets, defenses=(grayscale, EarlyStopping(sets[2], tasks=ROOMS)), **OPTIONS)


def test_every_task_is_measured_by_its_own_metric_in_multi_task_and_single_task_victims(report: Report) -> None:
    metrics = {"parts": "miou", "depth": "absolute_error", "normals": "mean_angle"}
    found = {(row.victim, row.defense, row.task): row.metric for row in report.rows()}
    assert found == {
        (victim, defense, task): metric
        for victim, defense in (
            ("multi-task", "none"),
            ("single-task", "none"),
            ("multi-task", "grayscale"),
            ("multi-task", "EarlyStopping"),
        )
        for task, metric in metrics.items()
    }


def test_the_control_learns_and_the_misled_do_not(report: Report) -> None:
    for row in report.rows():
        if row.defense == "none":
            better = row.values["clean"] > row.chance if row.task == "parts" else row.values["clean"] < row.chance
            assert better
            assert row.residuals["random noise"] > 0.7
            assert row.residuals["protected"] < 0.3
            assert row.residuals["protected"] == pytest.approx(
                (row.values["protected"] - row.chance) / (row.values["clean"] - row.chance)
            )
    assert set(report.residual_learnability) == set(ROOMS)


def test_the_best_epoch_is_no_worse_than_the_last(report: Report) -> None:
    """Of single-task victims, whose metric decides alone; of errors the lower is the better."""
    improved = 0
    for each in report.measurements:
        if each.victim == "single-task":
            metric, sign = {"parts": ("miou", 1), "depth": ("absolute_error", -1), "normals": ("mean_angle", -1)}[each.task]
            assert sign * each.best[metric] >= sign * each.last[metric]
            improved += each.best[metric] != each.last[metric]
    assert improved


def test_chance_is_that_of_the_test_set_and_survives_json(report: Report, sets: tuple[Any, Any, Any]) -> None:
    depth = torch.stack([target["depth"] for _, target in sets[2]])
    readings = depth[depth != 0]
    assert report.chance["depth"] == pytest.approx(float((readings - readings.median()).abs().mean()), rel=1e-3)
    parts = torch.stack([target["parts"] for _, target in sets[2]])
    assert report.chance["parts"] == pytest.approx(float((parts[parts >= 0].bincount() / (parts >= 0).sum()).max()) / 3)
    again = Report.from_json(report.to_json())
    assert again.chance == report.chance
    assert again.to_markdown() == report.to_markdown()
    assert again.rows() == report.rows()


def test_the_chart_is_a_picture(report: Report, tmp_path: Path) -> None:
    report.plot(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")


def test_one_dense_task_alone(sets: tuple[Any, Any, Any]) -> None:
    protected, clean, test = ([(image, target["depth"]) for image, target in each] for each in sets)
    found = audit(protected, clean, test, tasks={"depth": mtlue.Depth()}, **{**OPTIONS, "epochs": 2})
    assert {(each.victim, each.task) for each in found.measurements} == {("multi-task", "depth")}
    assert set(found.residual_learnability) == {"depth"}


def test_labels_move_with_the_images_in_every_victim(sets: tuple[Any, Any, Any]) -> None:
    """Depth and classes are learned from mirrored images only because their labels are mirrored too."""
    found = audit(*sets, transform=Mirror(), **OPTIONS)
    for row in found.rows():
        if row.task != "normals":
            assert row.residuals["random noise"] > 0.7
            better = row.values["clean"] > row.chance + 0.2 if row.task == "parts" else row.values["clean"] < row.chance / 2
            assert better
    assert found.settings["transform"] == "Mirror"
    whole = audit(*sets, transform=RandomZoomFlip(ROOMS), single_task=(), **{**OPTIONS, "epochs": 1})
    assert {row.task for row in whole.rows()} == set(ROOMS)


@pytest.mark.parametrize("defense", [StrongAugmentation(), OrthogonalProjection()])
def test_a_defense_that_label_maps_cannot_have_is_refused_before_training(sets: tuple[Any, Any, Any], defense: Any) -> None:
    seen: list[int] = []

    def watched(tasks: Any) -> Pointwise:
        seen.append(1)
        return Pointwise(tasks)

    with pytest.raises(ValueError, match=rf"defense: {type(defense).__name__} .*'parts', 'depth', 'normals'"):
        audit(*sets, defenses=[defense], **{**OPTIONS, "model": watched})
    assert not seen


def test_a_transform_that_cannot_be_used_is_told_before_training(sets: tuple[Any, Any, Any]) -> None:
    class Forgetful(JointTransform):
        def __call__(self, images: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            return images, {}

    with pytest.raises(ValueError, match=r"transform: for victims of the tasks \['parts', 'depth', 'normals'\]: .*missing"):
        audit(*sets, transform=Forgetful(), **OPTIONS)


def test_no_metric_is_not_a_number(report: Report) -> None:
    assert all(math.isfinite(value) for each in report.measurements for value in each.last.values())
