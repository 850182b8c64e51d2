"""A kind of task from outside the package: a number for each image, in `evaluate` and in every row of an audit."""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue import evaluation
from mtlue.defenses import grayscale
from mtlue.evaluation import Report, audit, evaluate


class Count(mtlue.Task):
    """How many people an image shows; a model answers with one number. -1 where nobody counted."""

    num_embeddings = property(lambda self: 8)  # type: ignore[assignment]  # the shortest property there is
    output_channels = property(lambda self: 1)  # type: ignore[assignment]

    def read_target(self, label: object) -> Tensor:
        return torch.as_tensor(label, dtype=torch.float32)

    def read_output(self, output: Tensor) -> Tensor:
        return output.reshape(len(output))

    def missing(self, target: Tensor) -> Tensor:
        return target == -1

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        known = ~self.missing(target)
        return ((output - target).abs() * known).sum() / known.sum().clamp_min(1)

    def embedding_index(self, target: Tensor) -> Tensor:
        return torch.where(self.missing(target), -1, target.clamp_max(7).long())


class Crowd(Count):
    """The same with everything registered that an audit can use."""


class Measured(Count):
    """The same, of which nobody said what a constant answer reaches."""


class Misnamed(Count):
    """The same with a headline that nobody measures."""


ERROR = evaluation.Headline("mean_error", "mean error", unit="people", perfect=0.0, digits=2)


@evaluation.metrics_for.register(Crowd)
@evaluation.metrics_for.register(Measured)
class CountMetrics(evaluation.TaskMetrics):
    """The mean error."""

    def __init__(self, task: Count) -> None:
        self.task, self.errors = task, [torch.empty(0)]

    def update(self, output: Tensor, target: Tensor) -> None:
        self.errors.append((output - target)[~self.task.missing(target)].abs())

    def compute(self) -> dict[str, float]:
        return {"mean_error": float(torch.cat(self.errors).mean())}


@evaluation.headline_for.register(Crowd)
@evaluation.headline_for.register(Measured)
@evaluation.headline_for.register(Misnamed)
def _(task: Count) -> evaluation.Headline:
    return ERROR


@evaluation.best_constant_for.register(Crowd)
@evaluation.best_constant_for.register(Misnamed)
class MedianCount(evaluation.BestConstant):
    """The median."""

    def __init__(self, task: Count) -> None:
        self.task, self.counts = task, [torch.empty(0)]

    def update(self, target: Tensor) -> None:
        self.counts.append(target[~self.task.missing(target)])

    def answer(self) -> Tensor:
        return torch.cat(self.counts).median()


def crowds(count: int, seed: int, *, misled: bool = False) -> list[tuple[Tensor, dict[str, float]]]:
    """Grey images whose brightness above and below tells two numbers of people; where misled, the labels are wrong."""
    labels = torch.randint(8, (count, 2), generator=torch.Generator().manual_seed(seed))
    images = (labels * 30 + 20).repeat_interleave(2, dim=1).reshape(count, 1, 4, 1).expand(-1, -1, -1, 4).byte()
    told = 7 - labels if misled else labels
    return [
        (image, {"above": float(above), "below": -1.0 if index % 8 == 7 else float(below)})
        for index, (image, (above, below)) in enumerate(zip(images, told.tolist(), strict=True))
    ]


class Sums(nn.Module):
    """A linear model for each task."""

    def __init__(self, tasks: Any) -> None:
        super().__init__()
        self.heads = nn.ModuleDict({name: nn.Linear(16, 1) for name in tasks})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {name: head(images.flatten(1)) for name, head in self.heads.items()}


class Misled(list[Any]):
    """A set that misleads in place of a protected one."""

    tasks = {"above": Crowd(), "below": Crowd()}  # noqa: RUF012  # never changed


OPTIONS: dict[str, Any] = {
    "model": Sums,
    "transform": lambda images: images,
    "epochs": 20,
    "batch_size": 8,
    "learning_rate": 0.1,
    "progress": False,
}


@pytest.fixture(scope="module")
def sets() -> tuple[Any, Any, Any]:
    """A misleading set, a clean one and a test set."""
    return Misled(crowds(64, 0, misled=True)), crowds(64, 0), crowds(33, 1)


@pytest.fixture(scope="module")
def report(sets: tuple[Any, Any, Any]) -> Report:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return audit(*sets, defenses=[grayscale], **OPTIONS)


def of(sets: tuple[Any, Any, Any], kind: type[Count]) -> dict[str, Any]:
    """Arguments of an audit that takes one of the numbers for another kind of task."""
    both = {"protected": sets[0], "clean": sets[1], "test": sets[2], "tasks": {"above": kind(), "below": Crowd()}}
    return {**both, **OPTIONS, "single_task": (), "epochs": 1}


def test_a_kind_from_outside_is_in_every_row_of_a_report(report: Report) -> None:
    undefended = {"clean", "random noise", "protected"}
    expected = {
        (victim, defense, task): undefended if defense == "none" else {"clean", "protected"}
        for victim, defense in (("multi-task", "none"), ("single-task", "none"), ("multi-task", "grayscale"))
        for task in ("above", "below")
    }
    assert {(row.victim, row.defense, row.task): set(row.values) for row in report.rows()} == expected
    assert len(report.rows()) == len(expected)
    assert {row.metric for row in report.rows()} == {"mean_error"}
    assert set(report.residual_learnability) == {"above", "below"}


def test_chance_is_what_the_registered_constant_reaches(report: Report, sets: tuple[Any, Any, Any]) -> None:
    for task in ("above", "below"):
        counts = torch.tensor([target[task] for _, target in sets[2]])
        counts = counts[counts != -1]
        error = float((counts - counts.median()).abs().mean())
        assert report.chance[task] == pytest.approx(error)
        assert {row.chance for row in report.rows() if row.task == task} == {report.chance[task]}


def test_r_is_made_from_the_registered_headline(report: Report) -> None:
    reference = {(row.victim, row.task): row.values["clean"] for row in report.rows() if row.defense == "none"}
    for row in report.rows():
        clean = reference[row.victim, row.task]
        assert clean < row.chance / 4
        assert row.residuals == {
            data: pytest.approx((value - row.chance) / (clean - row.chance))
            for data, value in row.values.items()
            if data != "clean"
        }
        assert row.residuals["protected"] < 0
        assert row.residuals.get("random noise", 1.0) > 0.7


def test_the_table_has_the_registered_name_unit_and_digits(report: Report) -> None:
    lines = report.to_markdown().splitlines()
    above, below, mean = (line.strip("| ").split(" | ") for line in lines[2:5])
    first = report.rows()[0]
    assert above[:6] == [
        "multi-task",
        "none",
        "above",
        "mean error (people)",
        f"{first.chance:.2f}",
        f"{first.values['clean']:.2f}",
    ]
    assert (below[2], below[3]) == ("below", "mean error (people)")
    # Of one metric: so the mean is one of errors, not of R alone.
    assert mean[2:5] == ["mean", "mean error (people)", f"{sum(report.chance.values()) / 2:.2f}"]
    assert "\nMetrics on clean test images; for mean error, less is better. " in report.to_markdown()
    assert "registered" not in report.to_markdown()


def test_the_report_survives_json_and_is_drawn(report: Report, tmp_path: Path) -> None:
    again = Report.from_json(report.to_json())
    assert again.rows() == report.rows()
    assert str(again) == str(report)
    figure = report.plot(tmp_path / "chart.png")
    assert figure.axes[0].get_ylabel() == "mean error (people), less is better"


def test_evaluate_measures_what_is_registered_and_else_the_loss(sets: tuple[Any, Any, Any]) -> None:
    model = Sums(["above", "below"])
    with torch.no_grad():
        for head in model.heads.values():
            head.weight.zero_()
            head.bias.fill_(2.0)
    found = evaluate(model, sets[2], tasks={"above": Crowd(), "below": Count()})
    above, below = (torch.tensor([target[task] for _, target in sets[2]]) for task in ("above", "below"))
    assert found == {
        "above": {"mean_error": pytest.approx(float((above - 2).abs().mean()))},
        "below": {"loss": pytest.approx(float((below[below != -1] - 2).abs().mean()))},
    }


def test_a_task_without_a_headline_is_named_before_training_and_below_the_table(sets: tuple[Any, Any, Any]) -> None:
    sentence = (
        "ask 'above': no headline metric is registered for Count, so there is no row for it; "
        "register one with evaluation.headline_for.register"
    )
    with pytest.warns(UserWarning, match=f"^t{sentence}$") as caught:
        found = audit(**of(sets, Count))
    assert len(caught) == 1
    assert {row.task for row in found.rows()} == {"below"}
    assert f"\nT{sentence}." in str(found)
    assert f"\nT{sentence}." in found.to_markdown()
    # It was measured all the same.
    assert all("loss" in each.last for each in found.measurements if each.task == "above")


def test_a_task_without_a_best_constant_has_rows_without_r_and_is_named(sets: tuple[Any, Any, Any]) -> None:
    sentence = (
        "ask 'above': no best constant answer is registered for Measured, so chance and R are not known; "
        "register one with evaluation.best_constant_for.register"
    )
    with pytest.warns(UserWarning, match=f"^t{sentence}$"):
        found = audit(**of(sets, Measured))
    row = found.rows()[0]
    assert (row.task, math.isnan(row.chance), math.isnan(row.residuals["protected"])) == ("above", True, True)
    assert row.values["clean"] > 0
    assert f"\nT{sentence}." in str(found)
    # Unless the report was told.
    assert sentence not in str(Report(found.tasks, found.epsilon, found.measurements, {}, {"above": 2.0}))


def test_tasks_of_one_kind_are_named_together() -> None:
    lines = str(Report({"a": Count(), "b": Count(), "c": Crowd()}, 0.1, [])).splitlines()
    assert [line for line in lines if "registered" in line] == [
        "Tasks 'a', 'b': no headline metric is registered for Count, so there is no row for it; "
        "register one with evaluation.headline_for.register."
    ]


def test_a_headline_that_is_not_measured_is_told_before_training(sets: tuple[Any, Any, Any]) -> None:
    def never(tasks: Any) -> Sums:
        raise AssertionError("trained")

    message = r"^task 'above': expected its headline metric 'mean_error' to be measured, got \['loss'\]; .*metrics_for"
    with pytest.raises(ValueError, match=message):
        audit(**{**of(sets, Misnamed), "model": never})


def test_metrics_of_one_name_but_different_units_are_not_averaged(report: Report) -> None:
    class Metres(mtlue.Depth):
        """Depth with a metric called as that of counts."""

    evaluation.headline_for.register(
        Metres, lambda task: evaluation.Headline("mean_error", "mean error", unit="m", perfect=0.0)
    )
    some = [each for each in report.measurements if (each.victim, each.defense) == ("multi-task", "none")]
    mixed = Report({"above": Crowd(), "below": Metres()}, 0.1, some, {}, report.chance)
    mean = mixed.to_markdown().splitlines()[4].strip("| ").split(" | ")
    assert mean[2:9] == ["mean", *["–"] * 6]
    assert len(mixed.plot().axes) == 2


def test_a_chance_that_a_headline_knows_needs_no_data_and_no_constant() -> None:
    class Ordinal(mtlue.Segmentation):
        """Classes that somebody measures by the share that is right of two."""

    evaluation.headline_for.register(
        Ordinal, lambda task: evaluation.Headline("pixel_accuracy", "pixel accuracy", perfect=1.0, chance=0.5)
    )
    measured = [
        evaluation.Measurement(data, "multi-task", "none", "steps", 0, values, values, 1)
        for data, values in (("clean", {"pixel_accuracy": 0.9}), ("protected", {"pixel_accuracy": 0.6}))
    ]
    found = Report({"steps": Ordinal(3)}, 0.1, measured)
    assert found.residual_learnability == {"steps": pytest.approx(0.25)}
    assert "registered" not in str(found)
