"""Tasks: losses worked out by hand, missing labels, shifted labels, bad labels, and a user's own kind."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import mtlue
from literal import random_targets
from mtlue._tasks import read_single, resolve_tasks, tasks_from_config, tasks_to_config
from mtlue._tasks.maps import resize_nearest

ALL_TASKS = [mtlue.Classification(3), mtlue.Segmentation(4), mtlue.Depth(), mtlue.SurfaceNormals()]
LOGITS = [1.0, 2.0, 3.0]
ENTROPY = [math.log(sum(map(math.exp, LOGITS))) - logit for logit in LOGITS]


def outputs_for(task: mtlue.Task, target: Tensor) -> Tensor:
    shape = (len(target), task.output_channels, *(target.shape[-2:] if target.ndim > 1 else ()))
    return torch.randn(shape, generator=torch.Generator().manual_seed(3))


def test_classification_loss_is_the_mean_over_labelled_samples() -> None:
    output = torch.tensor([LOGITS, [9.0, -9.0, 0.0], LOGITS])
    loss = mtlue.Classification(3).loss(output, torch.tensor([0, -1, 2]))
    assert loss.item() == pytest.approx((ENTROPY[0] + ENTROPY[2]) / 2, rel=1e-6)


def test_segmentation_loss_is_the_mean_over_labelled_pixels_of_the_batch() -> None:
    output = torch.tensor(LOGITS).reshape(1, 3, 1, 1).expand(2, 3, 1, 2)
    loss = mtlue.Segmentation(3, ignore_index=255).loss(output, torch.tensor([[[0, 255]], [[1, 2]]]))
    assert loss.item() == pytest.approx(sum(ENTROPY) / 3, rel=1e-6)


def test_depth_loss_is_the_mean_absolute_error_over_readings() -> None:
    target = torch.tensor([[[[2.0, 0.0]]], [[[1.0, 4.0]]]])
    output = torch.tensor([[[[3.5, 9.0]]], [[[0.0, 4.5]]]])
    assert mtlue.Depth().loss(output, target).item() == pytest.approx((1.5 + 1.0 + 0.5) / 3)


def test_normals_loss_is_one_minus_the_mean_cosine_over_readings() -> None:
    target = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 0, 1.0], [0, 0, 0]]).T.reshape(1, 3, 2, 2)
    output = torch.tensor([[3.0, 4, 0], [0, 7.0, 0], [0, 0, -0.1], [5.0, 5, 5]]).T.reshape(1, 3, 2, 2)
    assert mtlue.SurfaceNormals().loss(output, target).item() == pytest.approx((0.4 + 1.0 + 2.0) / 3, rel=1e-6)


@pytest.mark.parametrize("task", ALL_TASKS, ids=repr)
@pytest.mark.parametrize("name", ["loss", "adversarial_loss"])
def test_outputs_where_no_label_is_change_neither_loss_nor_gradient(task: mtlue.Task, name: str) -> None:
    target = random_targets({"task": task}, 3, (4, 5), seed=0)["task"]
    unlabelled = (target == 0).all(dim=1) if target.ndim == 4 else target == -1
    unlabelled = unlabelled.unsqueeze(1)
    assert unlabelled.any()
    assert not unlabelled.all()
    output = outputs_for(task, target).requires_grad_()
    changed = torch.where(unlabelled, 1e3 * output.detach() - 7.0, output.detach()).requires_grad_()
    results = []
    for leaf in (output, changed):
        loss = getattr(task, name)(leaf, target)
        results.append((loss.detach(), *torch.autograd.grad(loss, leaf)))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert not results[0][1][unlabelled.expand_as(output)].any()
    assert results[0][1].any()


@pytest.mark.parametrize("task", ALL_TASKS, ids=repr)
@pytest.mark.parametrize("name", ["loss", "adversarial_loss"])
def test_a_batch_without_labels_has_loss_zero_and_gradient_zero(task: mtlue.Task, name: str) -> None:
    target = random_targets({"task": task}, 1, (3, 3), seed=0)["task"]
    output = outputs_for(task, target).requires_grad_()
    loss = getattr(task, name)(output, target)
    assert loss.item() == 0.0
    assert torch.equal(torch.autograd.grad(loss, output)[0], torch.zeros_like(output))
    assert task.missing(target).tolist() == [True]


@given(classes=st.integers(1, 40), ignore=st.sampled_from([-1, -100, 255]), data=st.data())
def test_adversarial_target_is_the_label_shifted_by_half_the_classes(classes: int, ignore: int, data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.one_of(st.just(ignore), st.integers(0, classes - 1)), min_size=1, max_size=8))
    expected = [label if label == ignore else (label + classes // 2) % classes for label in labels]
    classification = mtlue.Classification(classes, ignore_index=ignore)
    segmentation = mtlue.Segmentation(classes, ignore_index=ignore)
    assert classification.adversarial_target(torch.tensor(labels)).tolist() == expected
    assert segmentation.adversarial_target(torch.tensor([[labels]])).tolist() == [[expected]]


def test_adversarial_loss_is_taken_at_the_shifted_label() -> None:
    loss = mtlue.Classification(3).adversarial_loss(torch.tensor([LOGITS, LOGITS, LOGITS]), torch.tensor([0, 2, -1]))
    assert loss.item() == pytest.approx((ENTROPY[1] + ENTROPY[0]) / 2, rel=1e-6)


@pytest.mark.parametrize("task", [mtlue.Depth(), mtlue.SurfaceNormals()], ids=repr)
def test_regression_is_untargeted(task: mtlue.Task) -> None:
    target = random_targets({"task": task}, 3, (4, 5), seed=1)["task"]
    output = outputs_for(task, target)
    assert task.adversarial_target(target) is None
    assert torch.equal(task.adversarial_loss(output, target), -task.loss(output, target))


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 2)])
def test_binary_logits_in_any_form_give_binary_cross_entropy(shape: tuple[int, ...]) -> None:
    output = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 4
    single = output[:, 1] - output[:, 0] if shape == (6, 2) else output.reshape(6)
    target = torch.tensor([0, 1, 1, 0, 1, 0])
    task = mtlue.Classification(2)
    expected = F.binary_cross_entropy_with_logits(single, target.float())
    torch.testing.assert_close(task.loss(task.read_output(output), target), expected)
    assert torch.equal(task.read_output(output).argmax(dim=1), (single > 0).long())


def test_nearest_resizing_picks_what_interpolation_in_float64_picks() -> None:
    sides = [*range(1, 33), 47, 64, 97, 288, 384, 427, 480, 640]
    for side in sides:
        # Rows and columns tell where a pixel comes from.
        maps = (1000 * torch.arange(side).unsqueeze(1) + torch.arange(side)).reshape(1, 1, side, side)
        for wanted in sides:
            size = (wanted, 5) if wanted % 2 else (5, wanted)
            expected = F.interpolate(maps.double(), size=size, mode="nearest-exact").long()
            assert torch.equal(resize_nearest(maps, size), expected), (side, wanted)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.float32, torch.float64], ids=str)
def test_nearest_resizing_needs_no_float64_of_the_device(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = torch.arange(6).reshape(1, 1, 2, 3).to(dtype)

    def missing(self: Tensor) -> Tensor:
        raise TypeError("this device has no float64")

    monkeypatch.setattr(Tensor, "double", missing)
    resized = resize_nearest(maps, (4, 3))
    assert resized.dtype == dtype
    assert torch.equal(resized, maps[:, :, [0, 0, 1, 1]])
    assert resize_nearest(maps.to("meta"), (4, 7)).shape == (1, 1, 4, 7)


def test_nearest_resizing_keeps_labels_that_no_float_holds() -> None:
    maps = torch.tensor([[[[2**60 + 1, 2**60 + 3]]]])
    assert torch.equal(resize_nearest(maps, (2, 2)), maps.expand(1, 1, 2, 2))


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


@pytest.mark.parametrize(
    ("task", "label", "error", "message"),
    [
        (mtlue.Classification(5), 5, ValueError, "label 5 is out of range: expected an integer from 0 to 4"),
        (mtlue.Classification(5), torch.tensor([0, -2]), ValueError, "label -2 is out of range"),
        (mtlue.Classification(5), -1.5, ValueError, "label -1.5 is not an integer"),
        (mtlue.Classification(5), float("nan"), ValueError, "label nan is not an integer"),
        (mtlue.Classification(5), float("inf"), ValueError, "label inf is not an integer"),
        (mtlue.Classification(5), "3", TypeError, "expected an integer label, got '3' \\(str\\)"),
        (mtlue.Classification(5), None, TypeError, "expected an integer label, got None"),
        (mtlue.Classification(5), 1j, TypeError, "expected an integer label"),
        (mtlue.Classification(5), torch.zeros(2, 3), ValueError, r"expected one integer, got shape \(3,\)$"),
        (mtlue.Segmentation(5), torch.full((2, 2), 7), ValueError, "label 7 is out of range"),
        (mtlue.Segmentation(5), 3, ValueError, "expected a label map of shape \\(H, W\\), got \\(\\)"),
        (mtlue.Depth(), torch.ones(3, 4, 4), ValueError, "expected a map of shape \\(1, H, W\\), got \\(3, 4, 4\\)"),
        (mtlue.SurfaceNormals(), torch.ones(1, 4, 4), ValueError, "expected a map of shape \\(3, H, W\\)"),
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


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, -1), ValueError, "num_classes: expected at least 1, got 0"),
        ((2.0, -1), TypeError, "num_classes: expected an int, got 2.0"),
        ((True, -1), TypeError, "num_classes: expected an int, got True"),
        ((5, 4), ValueError, "ignore_index: 4 is one of the 5 classes"),
        ((5, None), TypeError, "ignore_index: expected an int, got None"),
    ],
)
@pytest.mark.parametrize("kind", [mtlue.Classification, mtlue.Segmentation])
def test_wrong_arguments_of_a_task(
    kind: type[mtlue.Classification], arguments: tuple[int, int], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        kind(arguments[0], ignore_index=arguments[1])


@pytest.mark.parametrize(
    ("tasks", "error", "message"),
    [
        (["age"], TypeError, "tasks: expected a dict .* got list"),
        ({}, ValueError, "tasks: expected at least one task"),
        ({1: 2}, TypeError, "names that are strings, got 1"),
        ({"age": "9"}, TypeError, "tasks\\['age'\\]: expected a mtlue.Task or a number of classes, got '9'"),
        ({"age": True}, TypeError, "tasks\\['age'\\]"),
        ({"age": 0}, ValueError, "tasks\\['age'\\]: num_classes"),
    ],
)
def test_a_wrong_description_of_tasks(tasks: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        resolve_tasks(tasks)  # type: ignore[arg-type]  # wrong on purpose


def test_tasks_are_equal_by_kind_and_arguments_and_survive_repr_and_config() -> None:
    tasks = [
        *ALL_TASKS,
        mtlue.Classification(4),
        mtlue.Segmentation(4, ignore_index=255),
        mtlue.Classification(3, ignore_index=9),
    ]
    for task in tasks:
        assert eval(repr(task), vars(mtlue)) == task
        assert hash(eval(repr(task), vars(mtlue))) == hash(task)
        assert [other == task for other in tasks].count(True) == 1
    named = {str(position): task for position, task in enumerate(tasks)}
    assert list(tasks_from_config(tasks_to_config(named)).items()) == list(named.items())
    assert resolve_tasks({"age": 9}) == {"age": mtlue.Classification(9)}
    with pytest.raises(ValueError, match="'age' is of the kind 'Unheard': import the module that defines it"):
        tasks_from_config([["age", "Unheard", {}]])


class Age(mtlue.Task):
    """Age in years as a regression, with one embedding for each decade; a negative age is not known."""

    num_embeddings = property(lambda self: 10)  # type: ignore[assignment]  # the shortest property there is
    output_channels = property(lambda self: 1)  # type: ignore[assignment]

    def read_target(self, label: object) -> Tensor:
        return torch.as_tensor(label, dtype=torch.float32)

    def read_output(self, output: Tensor) -> Tensor:
        return output.reshape(len(output))

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return ((output - target).abs() * (target >= 0)).sum() / (target >= 0).sum().clamp_min(1)

    def missing(self, target: Tensor) -> Tensor:
        return target < 0

    def embedding_index(self, target: Tensor) -> Tensor:
        return torch.where(target < 0, -1, (target // 10).long().clamp_max(9))


def test_maps_are_the_tasks_without_a_table_of_embeddings() -> None:
    assert [task.is_map for task in (*ALL_TASKS, Age())] == [False, True, True, True, False]


def test_a_table_has_minus_one_for_a_missing_class_and_other_targets_as_they_are() -> None:
    ages = mtlue.Classification(3, ignore_index=255)
    assert [ages.table_entry(torch.tensor(label)) for label in (2, 255)] == [2, -1]
    assert Age().table_entry(torch.tensor(-7.5)) == -7.5


def test_a_users_own_kind_of_task_works_throughout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tasks = {"age": Age(), "gender": 2}
    generator = mtlue.UEGenerator(tasks, (3, 6, 6), width=4).eval()
    images, ages, genders = torch.rand(3, 3, 6, 6), [34.5, -1.0, 71.0], [0, 1, 1]
    targets = {"age": torch.tensor(ages), "gender": torch.tensor(genders)}
    same = mtlue.UEGenerator({"age": 10, "gender": 2}, (3, 6, 6), width=4).eval()
    same.load_state_dict(generator.state_dict())
    delta = generator(images, targets)
    assert torch.equal(delta, same(images, {"age": torch.tensor([3, -1, 7]), "gender": torch.tensor(genders)}))

    class Net(nn.Module):
        def forward(self, images: Tensor) -> list[Tensor]:
            return [images[:, :1, 0, 0] * 0 + 50.0, images[:, 0, 0, 0] * 0]

    surrogate = mtlue.Surrogate(Net(), tasks)
    years = (15.5 + 21.0) / 2
    assert surrogate.loss(images, targets).item() == pytest.approx((years + math.log(2)) / 2)
    assert surrogate.adversarial_loss(images, targets).item() == pytest.approx((-years + math.log(2)) / 2)

    generator.save(tmp_path / "generator.pt")
    loaded = mtlue.UEGenerator.load(tmp_path / "generator.pt")
    assert loaded.tasks == generator.tasks
    assert torch.equal(loaded(images, targets), delta)


def test_a_users_kind_that_shares_a_name_with_ours_does_not_replace_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(mtlue.Task, "kinds", dict(mtlue.Task.kinds))
    ours = {"far": mtlue.Depth()}
    config = tasks_to_config(ours)
    type("Depth", (Age,), {})
    assert tasks_from_config(config) == ours
