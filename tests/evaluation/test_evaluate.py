"""Metrics over a whole set, against values worked out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from torchmetrics.classification import BinaryAUROC, MulticlassAccuracy

import mtlue
from mtlue._tasks.maps import RegressionMap
from mtlue.evaluation import SelectedTasks, evaluate, residual_learnability
from mtlue.evaluation._metrics.classification import ClassificationMetrics


class Given(nn.Module):
    """Answers with the logits that stand in the image."""

    def __init__(self, split: list[int]) -> None:
        super().__init__()
        self.split = split
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> list[Tensor]:
        return list(images.flatten(1).split(self.split, dim=1))


def shown(logits: Tensor) -> Tensor:
    """Images (N, 1, 1, C) that hold logits."""
    return logits[:, None, None]


def test_accuracies_of_a_case_worked_out_by_hand() -> None:
    # Class 0: three of four right; class 1: none of one; class 2 does not occur.
    predictions = torch.tensor([0, 0, 0, 2, 0])
    labels = torch.tensor([0, 0, 0, 0, 1])
    dataset = TensorDataset(shown(torch.eye(3)[predictions]), labels)
    found = evaluate(Given([3]), dataset, tasks={"age": 3}, precision=torch.float32)
    assert found == {"age": {"accuracy": pytest.approx(3 / 5), "balanced_accuracy": pytest.approx((3 / 4 + 0) / 2)}}


def test_area_under_the_curve_of_a_case_worked_out_by_hand() -> None:
    # Of the four pairs of a positive and a negative, three are in the right order.
    scores, labels = torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1])
    logits = torch.stack([torch.zeros(4), scores], dim=1)
    found = evaluate(Given([2]), TensorDataset(shown(logits), labels), tasks={"ill": 2}, precision=torch.float32)
    assert found["ill"]["auroc"] == pytest.approx(3 / 4)


def test_metrics_are_those_of_torchmetrics() -> None:
    random = torch.Generator().manual_seed(0)
    logits = torch.rand(50, 7, generator=random)
    labels = torch.stack([torch.randint(5, (50,), generator=random), torch.randint(2, (50,), generator=random)], dim=1)
    tasks = {"race": 5, "young": 2}
    found = evaluate(Given([5, 2]), TensorDataset(shown(logits), labels), tasks=tasks, precision=torch.float32)
    race, young = logits[:, :5], logits[:, 5:]
    assert found["race"]["accuracy"] == pytest.approx(float(MulticlassAccuracy(5, average="micro")(race, labels[:, 0])))
    assert found["race"]["balanced_accuracy"] == pytest.approx(
        float(MulticlassAccuracy(5, average="macro")(race, labels[:, 0]))
    )
    assert found["young"]["auroc"] == pytest.approx(float(BinaryAUROC()(young.softmax(1)[:, 1], labels[:, 1])))


def test_the_result_does_not_depend_on_the_batch_size() -> None:
    random = torch.Generator().manual_seed(0)
    dataset = TensorDataset(shown(torch.rand(23, 2, generator=random)), torch.randint(2, (23,), generator=random))
    results = [evaluate(Given([2]), dataset, tasks={"a": 2}, batch_size=size, precision=torch.float32) for size in (1, 7, 23)]
    assert results[0] == results[1] == results[2]


class Small(Given):
    """Has no memory for more than three images."""

    def forward(self, images: Tensor) -> list[Tensor]:
        if len(images) > 3:
            raise torch.OutOfMemoryError("full")
        return super().forward(images)


def test_no_sample_counts_twice_when_memory_runs_out() -> None:
    random = torch.Generator().manual_seed(0)
    dataset = TensorDataset(shown(torch.rand(23, 4, generator=random)), torch.randint(2, (23, 2), generator=random))
    settings: dict[str, Any] = {"tasks": {"a": 2, "b": 2}, "precision": torch.float32}
    expected = evaluate(Given([2, 2]), dataset, **settings)
    with pytest.warns(UserWarning, match="out of memory with"):
        assert evaluate(Small([2, 2]), dataset, **settings) == expected


@pytest.mark.parametrize("number", [1, 2])
def test_a_metric_that_runs_out_of_memory_ends_the_call(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """To ask for the answer again would count the batch again for the metrics that already have it."""
    update, taken = ClassificationMetrics.update, []

    def full(self: ClassificationMetrics, output: Tensor, target: Tensor) -> None:
        taken.append(len(target))
        if len(taken) == number:
            raise torch.OutOfMemoryError("full")
        update(self, output, target)

    monkeypatch.setattr(ClassificationMetrics, "update", full)
    dataset = TensorDataset(torch.rand(6, 1, 1, 4), torch.ones(6, 2).long())
    with pytest.raises(torch.OutOfMemoryError, match="full"):
        evaluate(Given([2, 2]), dataset, tasks={"a": 2, "b": 2}, precision=torch.float32)
    assert taken == [6] * number


def test_missing_labels_do_not_count() -> None:
    logits = torch.eye(2)[torch.tensor([0, 1, 1, 0])]
    labels = torch.tensor([0, -1, 1, -1])
    found = evaluate(Given([2]), TensorDataset(shown(logits), labels), tasks={"a": 2}, precision=torch.float32)
    assert found["a"] == {"accuracy": 1.0, "balanced_accuracy": 1.0, "auroc": 1.0}


def test_what_cannot_be_measured_is_nan() -> None:
    images = shown(torch.rand(3, 2))
    one_class = evaluate(Given([2]), TensorDataset(images, torch.ones(3).long()), tasks={"a": 2})
    assert math.isnan(one_class["a"]["auroc"])
    assert not math.isnan(one_class["a"]["accuracy"])
    none = evaluate(Given([2]), TensorDataset(images, torch.full((3,), -1)), tasks={"a": 2})
    assert all(math.isnan(value) for value in none["a"].values())


class Heat(RegressionMap):
    """A kind of task that nothing is known of."""

    @property
    def label_channels(self) -> int:
        return 1

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        observed = self.observed(target)
        return ((output - target).square() * observed).sum() / observed.sum().clamp_min(1)


def test_another_kind_of_task_gets_the_mean_of_its_loss_over_samples_whatever_the_batch_size() -> None:
    heat = torch.zeros(3, 1, 1, 4)
    heat[0] = 1.0
    heat[1, ..., 0] = 3.0  # a single reading; the third has none at all
    dataset = [(image, {"heat": target}) for image, target in zip(torch.zeros(3, 1, 1, 4), heat, strict=True)]
    net = nn.Conv2d(1, 1, 1, bias=False)
    for size in (1, 2, 3):
        found = evaluate(net, dataset, tasks={"heat": Heat()}, batch_size=size, precision=torch.float32)  # type: ignore[arg-type]
        assert found == {"heat": {"loss": (1.0 + 9.0) / 2}}


def test_a_surrogate_of_other_tasks_is_refused() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"model: its tasks .* differ from the tasks of this call"):
        evaluate(mtlue.Surrogate(net, {"a": 2}), TensorDataset(torch.rand(2, 1, 2, 2), torch.ones(2)), tasks={"b": 2})


def test_the_model_comes_back_as_it_was() -> None:
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Linear(4, 2)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    evaluate(net, TensorDataset(torch.rand(8, 1, 2, 2), torch.arange(8) % 2), tasks={"a": 2})
    assert net.training
    assert all(parameter.requires_grad for parameter in net.parameters())
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize(("protected", "expected"), [(0.8, 1.0), (0.1, 0.0), (0.45, 0.5), (0.03, -0.1)])
def test_residual_learnability(protected: float, expected: float) -> None:
    assert residual_learnability(protected, 0.8, 0.1) == pytest.approx(expected)
    assert math.isnan(residual_learnability(protected, 0.1, 0.1))
    assert math.isnan(residual_learnability(protected, 0.05, 0.1))
    # An error of 2 by chance and of 1 when learned from clean images.
    assert residual_learnability(2.0 - expected, 1.0, 2.0, lower_is_better=True) == pytest.approx(expected)
    assert math.isnan(residual_learnability(0.5, 2.0, 2.0, lower_is_better=True))
    assert math.isnan(residual_learnability(0.5, 2.1, 2.0, lower_is_better=True))


@pytest.mark.parametrize(
    "targets",
    [
        torch.tensor([3, 1]),
        [torch.tensor(3), torch.tensor(1)],
        {"age": torch.tensor(3), "young": torch.tensor(1)},
        {"young": 1, "other": 7, "age": 3},
    ],
)
def test_some_tasks_of_a_set_in_every_form_of_targets(targets: Any) -> None:
    image = torch.rand(1, 2, 2)
    chosen = SelectedTasks([(image, targets)], {"age": 9, "young": 2}, ["young"])  # type: ignore[arg-type]
    assert len(chosen) == 1
    assert chosen.tasks == {"young": mtlue.Classification(2)}
    got, labels = chosen[0]
    assert got is image
    assert {name: int(label) for name, label in labels.items()} == {"young": 1}  # type: ignore[call-overload]


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(ValueError, match="unknown \\['size'\\]; the tasks are \\['age'\\]"):
        SelectedTasks([], {"age": 2}, ["size"])  # type: ignore[arg-type]
