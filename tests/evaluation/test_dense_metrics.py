"""Metrics of label maps over a whole set, against values worked out by hand and against torchmetrics."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.classification import MulticlassAccuracy, MulticlassJaccardIndex

import mtlue
from literal import random_targets
from mtlue.evaluation import evaluate

TASKS: dict[str, mtlue.Task] = {"parts": mtlue.Segmentation(5), "depth": mtlue.Depth(), "normals": mtlue.SurfaceNormals()}
WIDTHS = [task.output_channels for task in TASKS.values()]


class Recited(nn.Module):
    """Answers what it was given, whatever it sees; the image says which sample is asked for."""

    def __init__(self, *answers: Tensor) -> None:
        super().__init__()
        self.answers = answers
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        index = (images[:, 0, 0, 0] * 255).round().long()
        return tuple(answer[index] for answer in self.answers)


def measured(
    answers: dict[str, Tensor], targets: dict[str, Tensor], tasks: dict[str, Any], batch_size: int = 4
) -> dict[str, dict[str, float]]:
    count, size = len(next(iter(targets.values()))), next(iter(targets.values())).shape[-2:]
    images = (torch.arange(count) / 255).reshape(-1, 1, 1, 1).expand(-1, 1, *size)
    data = [(image, {name: target[index] for name, target in targets.items()}) for index, image in enumerate(images)]
    model = Recited(*(answers[name] for name in tasks))
    return evaluate(model, data, tasks=tasks, batch_size=batch_size, precision=torch.float32)  # type: ignore[arg-type]


def logits(classes: Tensor, count: int) -> Tensor:
    return F.one_hot(classes, count).movedim(-1, 1).float()


def some() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Answers and targets for seven samples of 6x5 pixels; the first has no label at all."""
    random = torch.Generator().manual_seed(3)
    outputs = torch.randn(7, sum(WIDTHS), 6, 5, generator=random).split(WIDTHS, dim=1)
    return dict(zip(TASKS, outputs, strict=True)), random_targets(TASKS, 7, (6, 5), seed=5)


def test_segmentation_by_hand() -> None:
    """Over two images at once: 0 in 2 of 3 pixels, 1 in 1 of 4, 2 only answered, 3 nowhere."""
    labels = torch.tensor([[[0, 0, 1]], [[1, 1, -1]]])
    answers = torch.tensor([[[0, 0, 0]], [[1, 2, 3]]])
    found = measured({"parts": logits(answers, 4)}, {"parts": labels}, {"parts": mtlue.Segmentation(4)})
    # Unions: {0, 0, 0}, {1, 1, 1}, {2}.
    assert found["parts"] == {"miou": pytest.approx((2 / 3 + 1 / 3 + 0) / 3), "pixel_accuracy": pytest.approx(3 / 5)}


def test_depth_by_hand() -> None:
    """Errors 1, 1 and 3 at depths 2, 4 and 1, in images with one and with two readings."""
    depth = torch.tensor([[2.0, 0.0], [4.0, 1.0]]).reshape(2, 1, 1, 2)
    answers = torch.tensor([[3.0, 9.0], [3.0, 4.0]]).reshape(2, 1, 1, 2)
    found = measured({"depth": answers}, {"depth": depth}, {"depth": mtlue.Depth()})
    assert found["depth"] == {"absolute_error": pytest.approx(5 / 3), "relative_error": pytest.approx((0.5 + 0.25 + 3) / 3)}


def test_normals_by_hand() -> None:
    """Angles 0, 90, 180 and 60 degrees, of answers of any length; the pixel without a reading is at 45 to nothing."""
    up = torch.tensor([0.0, 0.0, 1.0])
    labels = torch.stack([up, up, up, up, 0 * up]).T.reshape(1, 3, 1, 5)
    answers = torch.tensor([[0, 0, 7.0], [3, 0, 0], [0, 0, -2], [3**0.5, 0, 1], [1, 0, 1]]).T.reshape(1, 3, 1, 5)
    found = measured({"normals": answers}, {"normals": labels}, {"normals": mtlue.SurfaceNormals()})
    assert found["normals"]["mean_angle"] == pytest.approx((0 + 90 + 180 + 60) / 4)
    assert found["normals"]["median_angle"] == pytest.approx((60 + 90) / 2, abs=1e-3)


def test_an_answer_without_direction_is_at_a_right_angle() -> None:
    labels = F.normalize(torch.ones(1, 3, 2, 2), dim=1)
    found = measured({"normals": 0 * labels}, {"normals": labels}, {"normals": mtlue.SurfaceNormals()})
    assert found["normals"] == {"mean_angle": pytest.approx(90), "median_angle": 90}


def test_segmentation_is_that_of_torchmetrics_also_where_classes_are_absent() -> None:
    answers, targets = some()
    for kept in (5, 3):
        parts = targets["parts"].where(targets["parts"] < kept, 0)
        output = answers["parts"].clone()
        output[:, kept:] = -1e9
        found = measured({"parts": output}, {"parts": parts}, {"parts": TASKS["parts"]})["parts"]
        assert found["miou"] == pytest.approx(float(MulticlassJaccardIndex(5, average="macro", ignore_index=-1)(output, parts)))
        assert found["pixel_accuracy"] == pytest.approx(
            float(MulticlassAccuracy(5, average="micro", ignore_index=-1)(output, parts))
        )


def test_errors_and_angles_are_those_of_all_pixels_kept() -> None:
    answers, targets = some()
    found = measured(answers, targets, TASKS)
    seen = targets["depth"] != 0
    error = (answers["depth"] - targets["depth"])[seen].abs()
    assert found["depth"]["absolute_error"] == pytest.approx(float(error.mean()))
    assert found["depth"]["relative_error"] == pytest.approx(float((error / targets["depth"][seen]).mean()))
    cosine = F.cosine_similarity(answers["normals"], targets["normals"], dim=1)[(targets["normals"] != 0).any(dim=1)]
    angles = torch.rad2deg(cosine.clamp(-1, 1).acos()).double()
    assert found["normals"]["mean_angle"] == pytest.approx(float(angles.mean()), rel=1e-5)
    assert found["normals"]["median_angle"] == pytest.approx(float(angles.quantile(0.5)), abs=1e-3)


def test_the_result_does_not_depend_on_the_batch_size() -> None:
    answers, targets = some()
    assert measured(answers, targets, TASKS, 1) == measured(answers, targets, TASKS, 3) == measured(answers, targets, TASKS, 7)


@pytest.mark.parametrize("value", [1e9, math.nan, math.inf, -math.inf])
def test_answers_where_there_is_no_label_count_in_nothing(value: float) -> None:
    answers, targets = some()
    changed = {}
    for name, task in TASKS.items():
        target = targets[name]
        unknown = (target == -1).unsqueeze(1) if isinstance(task, mtlue.Segmentation) else (target == 0).all(1, keepdim=True)
        assert 0.1 < unknown.float().mean() < 0.9
        changed[name] = torch.where(unknown, value, answers[name])
    assert measured(changed, targets, TASKS) == measured(answers, targets, TASKS)


@pytest.mark.parametrize("name", ["depth", "normals"])
def test_an_answer_that_is_no_number_where_there_is_a_label_is_not_hidden(name: str) -> None:
    answers, targets = some()
    answers[name][3, :, 3, 3] = math.nan
    assert (targets[name][3, :, 3, 3] != 0).any()
    assert all(math.isnan(value) for value in measured(answers, targets, TASKS)[name].values())


def test_without_any_label_there_is_no_number() -> None:
    answers, targets = some()
    nothing = {name: torch.full_like(target, -1 if name == "parts" else 0) for name, target in targets.items()}
    found = measured(answers, nothing, TASKS)
    assert {name: set(values) for name, values in found.items()} == {
        "parts": {"miou", "pixel_accuracy"},
        "depth": {"absolute_error", "relative_error"},
        "normals": {"mean_angle", "median_angle"},
    }
    assert all(math.isnan(value) for values in found.values() for value in values.values())


def test_an_ignored_class_may_have_any_number() -> None:
    answers, targets = some()
    parts = targets["parts"]
    found = measured(
        {"parts": answers["parts"]},
        {"parts": parts.where(parts >= 0, 255)},
        {"parts": mtlue.Segmentation(5, ignore_index=255)},
    )
    assert found == measured({"parts": answers["parts"]}, {"parts": parts}, {"parts": mtlue.Segmentation(5)})


@pytest.mark.parametrize("name", list(TASKS))
def test_answers_of_another_size_are_told(name: str) -> None:
    answers, targets = some()
    small = answers[name][..., ::2, ::2]
    with pytest.raises(ValueError, match=rf"model: task '{name}': expected .*, got .*3, 3"):
        measured({name: small}, {name: targets[name]}, {name: TASKS[name]})


@pytest.mark.parametrize("name", list(TASKS))
def test_answers_for_another_number_of_samples_are_told(name: str) -> None:
    class First(nn.Conv2d):
        def forward(self, images: Tensor) -> Tensor:
            return super().forward(images)[:1]

    target = some()[1][name][:2]
    size = target.shape[-2:]
    data: Any = [(torch.rand(3, *size), each) for each in target]
    net = First(3, TASKS[name].output_channels, 1)
    with pytest.raises(ValueError, match=rf"model: task '{name}': expected .* (2 samples, got 1|\(2, .*got \(1, )"):
        evaluate(net, data, tasks={name: TASKS[name]})
