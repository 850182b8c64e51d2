"""What the best answer that ignores the image reaches, and what is made of it."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import mtlue
from literal import random_targets
from mtlue._data import Samples
from mtlue._runtime.compute import Compute
from mtlue.evaluation._best_epoch import best_epoch
from mtlue.evaluation._chance import measure_chance

TASKS: dict[str, mtlue.Task] = {
    "age": mtlue.Classification(4),
    "parts": mtlue.Segmentation(5),
    "depth": mtlue.Depth(),
    "normals": mtlue.SurfaceNormals(),
}


def chance_of(targets: dict[str, Tensor], tasks: dict[str, mtlue.Task], **options: Any) -> dict[str, float]:
    size = next(target.shape[-2:] for target in targets.values() if target.ndim > 1)
    count = len(next(iter(targets.values())))
    data = [(torch.rand(3, *size), {name: target[index] for name, target in targets.items()}) for index in range(count)]
    samples = Samples(data, tasks, size=options.get("image_size"))  # type: ignore[arg-type]  # a list is a data set
    return measure_chance(samples, Compute(torch.device("cpu"), num_workers=options.get("num_workers", 0)))


def test_chance_by_hand() -> None:
    """Four of six labelled pixels are of class 2; the median depth is 3; normals to the left and right, their mean is up."""
    half = 0.5**0.5
    targets = {
        "age": torch.tensor([0, 3]),
        "parts": torch.tensor([[[2, 2, 0, -1]], [[-1, 2, 2, 1]]]),
        "depth": torch.tensor([[1.0, 3.0, 0.0, 11.0], [2.0, 0.0, 0.0, 7.0]]).reshape(2, 1, 1, 4),
        "normals": torch
        .tensor([[half, 0, half], [-half, 0, half], [0, 0, 0], [0, 0, 1]])
        .T.reshape(1, 3, 1, 4)
        .repeat(2, 1, 1, 1),
    }
    assert chance_of(targets, TASKS) == {
        "age": 0.25,
        "parts": pytest.approx(4 / 6 / 3),
        "depth": pytest.approx((2 + 0 + 8 + 1 + 4) / 5),
        "normals": pytest.approx((45 + 45 + 0) / 3, abs=1e-4),
    }


def test_no_constant_is_better() -> None:
    targets = random_targets(TASKS, 6, (5, 4), seed=2)
    chance = chance_of(targets, TASKS)
    parts, depth = targets["parts"], targets["depth"]
    seen, classes = parts[parts >= 0], range(5)
    mious = [float((seen == chosen).float().mean()) / len(seen.unique()) for chosen in classes]
    assert chance["parts"] == pytest.approx(max(mious))
    readings = depth[depth != 0].double()
    errors = [float((readings - value).abs().mean()) for value in torch.linspace(0.4, 1.6, 2000, dtype=torch.double)]
    assert chance["depth"] == pytest.approx(min(errors), rel=1e-3)
    normals = targets["normals"].movedim(1, -1)[(targets["normals"] != 0).any(dim=1)].double()

    def mean_angle(direction: Tensor) -> float:
        return float(torch.rad2deg((normals @ direction).clamp(-1, 1).acos()).mean())

    mean = F.normalize(normals.sum(dim=0), dim=0)
    assert chance["normals"] == pytest.approx(mean_angle(mean), abs=1e-3)
    around = [F.normalize(torch.tensor(step, dtype=torch.double), dim=0) for step in itertools.product((0.2, 0.6, 1), repeat=3)]
    # The mean direction is not quite the best for the mean angle, but nearly.
    assert chance["normals"] < min(map(mean_angle, around)) + 0.5


@pytest.mark.parametrize("scale", [1e-3, 1.0, 5e4])
def test_the_median_is_near_whatever_the_unit(scale: float) -> None:
    depth = torch.rand(3, 1, 20, 21, generator=torch.Generator().manual_seed(0)) ** 2 * scale + scale / 9
    error = (depth - depth.median()).abs().mean()
    assert chance_of({"depth": depth}, {"depth": mtlue.Depth()})["depth"] == pytest.approx(float(error), rel=1e-4)


def test_labels_are_resized_as_for_a_model() -> None:
    parts = torch.zeros(1, 4, 4, dtype=torch.long)
    parts[:, :2] = 1
    parts[:, 0, 0] = 2
    assert chance_of({"parts": parts}, {"parts": mtlue.Segmentation(3)})["parts"] == pytest.approx(8 / 16 / 3)
    # Nearest neighbour leaves one pixel of each quarter.
    small = chance_of({"parts": parts}, {"parts": mtlue.Segmentation(3)}, image_size=(2, 2))["parts"]
    assert small == pytest.approx(0.5 / 2)


def test_a_user_s_own_kind_of_task_has_no_chance() -> None:
    class Pose(mtlue.Task):
        @property
        def output_channels(self) -> int:
            return 1

        def read_target(self, label: object) -> Tensor:
            return torch.as_tensor(label).float()

        def read_output(self, output: Tensor) -> Tensor:
            return output

        def loss(self, output: Tensor, target: Tensor) -> Tensor:
            return (output - target).square().mean()

        def missing(self, target: Tensor) -> Tensor:
            return target.isnan()

    assert chance_of({"parts": torch.zeros(2, 1, 2).long()}, {"parts": mtlue.Segmentation(2)}) == {"parts": 1.0}
    assert measure_chance(Samples([], {"pose": Pose()}), Compute(torch.device("cpu"))) == {}  # type: ignore[arg-type]


def epochs(**values: list[float]) -> list[dict[str, dict[str, float]]]:
    """Metrics by epoch from headline values by task."""
    names = {"age": "balanced_accuracy", "parts": "miou", "depth": "absolute_error", "normals": "mean_angle"}
    count = len(next(iter(values.values())))
    return [{task: {names[task]: found[index]} for task, found in values.items()} for index in range(count)]


CHANCE = {"age": 0.25, "parts": 0.1, "depth": 2.0, "normals": 40.0}


@pytest.mark.parametrize(
    ("values", "best"),
    [
        ({"depth": [1.5, 0.5, 1.0]}, 1),
        ({"normals": [20.0, 10.0, 10.0]}, 1),
        ({"parts": [0.3, 0.2, 0.1]}, 0),
        # The angle falls by a quarter of the way, the depth's error by less: a mean of the numbers would say so too late.
        ({"depth": [1.0, 1.3], "normals": [30.0, 29.0]}, 0),
        ({"age": [0.5, 0.4], "normals": [39.0, 30.0]}, 1),
        ({"depth": [math.nan, 3.0, 2.5]}, 2),
        ({"depth": [math.nan, math.nan, math.nan]}, 2),
        ({"depth": [1.0, 0.5], "age": [math.nan, math.nan]}, 1),
    ],
)
def test_the_best_epoch_is_where_most_was_learned(values: dict[str, list[float]], best: int) -> None:
    assert best_epoch(epochs(**values), {name: TASKS[name] for name in values}, CHANCE) == best
