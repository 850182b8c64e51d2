"""Labels and outputs in any type and form: how they are read, and what is said of wrong ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mtlue
from mtlue._tasks import read_single


@pytest.mark.parametrize("label", [3, np.int64(3), np.uint8(3), torch.tensor(3), 3.0, torch.tensor([3]), [3]], ids=repr)
def test_an_integer_label_is_read_from_any_type(label: object) -> None:
    read = mtlue.Classification(4).read_target(label)
    assert read.dtype == torch.int64
    assert read.flatten().tolist() == [3]


@pytest.mark.parametrize("maps", [(5, 4), (1, 5, 4), (2, 5, 4), (2, 1, 5, 4)])
def test_label_maps_lose_their_channel_axis(maps: tuple[int, ...]) -> None:
    read = mtlue.Segmentation(4).read_target(torch.ones(maps, dtype=torch.uint8))
    # Of three axes the first is always the batch: (1, 5, 4) is a batch of one.
    assert read.shape == {(5, 4): (5, 4), (1, 5, 4): (1, 5, 4)}.get(maps, (2, 5, 4))
    if maps[0] != 2:
        assert read_single(torch.ones(maps, dtype=torch.uint8), mtlue.Segmentation(4)).shape == (1, 5, 4)


def test_a_map_of_one_channel_needs_no_axis_for_it() -> None:
    readings = torch.rand(3, 4)
    assert torch.equal(mtlue.Depth().read_target(readings), readings.unsqueeze(0))


@pytest.mark.parametrize(
    ("answers", "is_distribution"),
    [
        ([[0.3, 0.7], [0.5, 0.5]], True),
        ([[1.0, 0.0], [0.0, 1.0]], True),
        ([[0.3332, 0.3333, 0.3333], [0.2, 0.3, 0.5]], True),
        ([[0.3, 0.6], [0.5, 0.5]], False),
        ([[1.5, -0.5], [0.5, 0.5]], False),
        # The form into which single logits are brought.
        ([[0.0, 1.0], [0.0, 1.0]], False),
        ([[1.0], [1.0]], False),
    ],
)
def test_probabilities_are_told_from_logits(answers: list[list[float]], is_distribution: bool) -> None:
    assert mtlue.Classification(len(answers[0])).is_distribution(torch.tensor(answers)) is is_distribution


def test_skill_is_balanced_accuracy_from_chance_to_1() -> None:
    task, target = mtlue.Classification(4), torch.tensor([0, 0, 0, 0, 1, 1, 3, -1])
    for answers, right, recall in (
        ([0, 0, 0, 0, 1, 1, 3, 2], 7, 1.0),
        ([0, 0, 0, 0, 0, 0, 0, 0], 4, 1 / 3),
        ([0, 0, 0, 0, 1, 0, 0, 0], 5, 1.5 / 3),
    ):
        output = torch.eye(4)[answers]
        assert task.skill(output, target) == pytest.approx((recall - 1 / 3) / (1 - 1 / 3), abs=1e-6)
        assert task.hits(output, target) == (right, 7)
    assert task.skill(torch.eye(4)[[1, 1]], torch.tensor([1, 1])) == 0.0


@pytest.mark.parametrize(
    ("task", "label", "error", "message"),
    [
        (mtlue.Classification(5), 5, ValueError, "label 5 is out of range: expected an integer from 0 to 4"),
        (mtlue.Classification(5), torch.tensor([0, -2]), ValueError, "label -2 is out of range"),
        (mtlue.Classification(5), -1.5, ValueError, "label -1.5 is not an integer"),
        (mtlue.Classification(5), float("nan"), ValueError, "label nan is not an integer"),
        (mtlue.Classification(5), float("inf"), ValueError, "label inf is not an integer"),
        (mtlue.Classification(5), "3", TypeError, "got '3' \\(str\\); number the classes, or read them with mtlue.datasets"),
        (mtlue.Classification(5), {}, TypeError, "expected an integer label, got {} \\(dict\\)$"),
        (mtlue.Classification(5), None, TypeError, "expected an integer label, got None"),
        (mtlue.Classification(5), 1j, TypeError, "expected an integer label"),
        (mtlue.Classification(5), torch.zeros(2, 3), ValueError, r"expected one integer, got shape \(3,\)$"),
        (mtlue.Segmentation(5), torch.full((2, 2), 7), ValueError, "label 7 is out of range"),
        (mtlue.Segmentation(5), 3, ValueError, "expected a label map of shape \\(H, W\\), got \\(\\)"),
        (mtlue.Depth(), torch.ones(3, 4, 4), ValueError, "expected a map of shape \\(1, H, W\\), got \\(3, 4, 4\\)"),
        (mtlue.SurfaceNormals(), torch.ones(1, 4, 4), ValueError, "expected a map of shape \\(3, H, W\\)"),
        (mtlue.SurfaceNormals(), torch.ones(4, 5), ValueError, "expected a map of shape \\(3, H, W\\), got \\(4, 5\\)"),
        (mtlue.Depth(), torch.full((1, 2, 2), float("nan")), ValueError, "NaN or infinity"),
        (mtlue.Depth(), "far", TypeError, "expected a float map, got str"),
    ],
)
def test_a_wrong_label_says_what_was_expected(task: mtlue.Task, label: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        task.read_target(label)


@pytest.mark.parametrize(
    ("task", "shape", "message"),
    [
        (mtlue.Classification(5), (4, 6), "expected logits of shape \\(B, 5\\), got \\(4, 6\\)"),
        (mtlue.Classification(5), (4,), "\\(B, 5\\), got \\(4,\\)"),
        (mtlue.Classification(2), (4, 3), "\\(B, 2\\), \\(B, 1\\) or \\(B,\\), got \\(4, 3\\)"),
        (mtlue.Segmentation(5), (4, 6, 2, 2), "\\(B, 5, H, W\\), got \\(4, 6, 2, 2\\)"),
        (mtlue.Depth(), (4, 2, 2, 2), "\\(B, 1, H, W\\), got \\(4, 2, 2, 2\\)"),
        (mtlue.SurfaceNormals(), (4, 3), "\\(B, 3, H, W\\), got \\(4, 3\\)"),
    ],
)
def test_an_output_of_the_wrong_width_says_what_was_expected(task: mtlue.Task, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        task.read_output(torch.zeros(shape))
