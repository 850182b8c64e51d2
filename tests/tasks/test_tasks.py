"""Tasks: losses worked out by hand, missing labels and shifted labels."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import mtlue
from literal import random_targets
from task_kinds import ALL_TASKS

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


class Bare(mtlue.Task):
    """A task with no more than it has to have."""

    output_channels = 1

    def read_target(self, value: object) -> Tensor:
        return torch.as_tensor(value)

    def read_output(self, output: Tensor) -> Tensor:
        return output

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output[:, 0] - target).abs().mean()

    def missing(self, target: Tensor) -> Tensor:
        return target.isnan()


def test_what_a_task_need_not_have() -> None:
    bare, target = Bare(), torch.tensor([1.0, 2.0])
    assert bare.label_channels == 0
    assert bare.resize_target(target, (4, 4)) is target
    # No target is known of which an answer could be better than the mean.
    assert bare.skill(torch.zeros(2, 1), torch.full((2,), torch.nan)) == 0.0
    with pytest.raises(NotImplementedError, match="Bare has no table of embeddings"):
        bare.embedding_index(target)
    with pytest.raises(NotImplementedError, match="Bare has no label map"):
        bare.label_map(target)
