"""Rare classes count as much as frequent ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mtlue
from mtlue._losses.class_balance import ClassBalance
from mtlue._tasks import read_targets
from restarted_networks import TASKS, Net, batch, surrogate


def balanced(*batches: Mapping[str, Any], tasks: Mapping[str, Any]) -> dict[str, Tensor]:
    """Weights after some batches of labels."""
    given, balance = mtlue.Surrogate(nn.Identity(), tasks), ClassBalance()
    for labels in batches:
        weights = balance.update(
            given, read_targets({name: torch.tensor(label) for name, label in labels.items()}, given.tasks)
        )
    return weights


def test_classes_weigh_equally_and_labels_one_on_average() -> None:
    weights = balanced({"hat": [0, 0, 0, 1]}, {"hat": [0, 0, -1, 0]}, tasks={"hat": 2})["hat"]
    # Of seven labels one is of class 1.
    assert 6 * weights[0] == pytest.approx(1 * weights[1].item())
    assert 6 * weights[0] + weights[1] == pytest.approx(7)


def test_each_task_has_its_own_classes() -> None:
    weights = balanced({"age": [0, 1, 2, 2], "hat": [1, 1, 1, 0]}, tasks={"age": 3, "hat": 2})
    assert weights["age"].tolist() == pytest.approx([4 / 3, 4 / 3, 2 / 3])
    assert weights["hat"].tolist() == pytest.approx([2, 2 / 3])


def test_a_class_that_never_came_up_changes_nothing() -> None:
    weights = balanced({"age": [0, 0, 2, 2]}, tasks={"age": 4})["age"]
    assert weights[[0, 2]].tolist() == [1, 1]
    assert weights.isfinite().all()


def test_a_very_rare_class_does_not_drown_its_batch() -> None:
    weights = balanced({"hat": [0] * 999 + [1]}, tasks={"hat": 2})["hat"]
    assert weights[1] == 20


def test_labels_that_are_no_classes_have_no_weights() -> None:
    given, balance = mtlue.Surrogate(nn.Identity(), {"depth": mtlue.Depth(), "hat": 2}), ClassBalance()
    targets = read_targets({"depth": torch.rand(2, 1, 3, 3), "hat": torch.tensor([0, 1])}, given.tasks)
    assert list(balance.update(given, targets)) == ["hat"]


def weighted(output: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """The definition, label by label."""
    outputs, labels = output.movedim(1, -1).flatten(0, -2), target.flatten()
    each = [
        weights[label] * F.cross_entropy(row[None], label[None])
        for row, label in zip(outputs, labels, strict=True)
        if label >= 0
    ]
    return torch.stack(each).sum() / len(each)


def test_losses_are_weighted_label_by_label() -> None:
    """Alone, as many equal tasks at once, and pixel by pixel; missing labels count nothing."""
    torch.manual_seed(0)
    tasks = {**{f"trait {number}": mtlue.Classification(3) for number in range(9)}, "room": mtlue.Segmentation(4)}
    given = mtlue.Surrogate(nn.Identity(), {**tasks, "age": mtlue.Classification(5)})
    outputs, targets, weights = {}, {}, {}
    for name, task in given.tasks.items():
        size = (6, 4, 4) if name == "room" else (6,)
        outputs[name] = torch.randn(6, task.output_channels, *size[1:])
        targets[name] = torch.randint(-1, task.output_channels, size)
        weights[name] = torch.rand(task.output_channels)
    read = read_targets(targets, given.tasks)
    found = given.losses_of(outputs, read, weights)
    plain = given.losses_of(outputs, read)
    for name in given.tasks:
        torch.testing.assert_close(found[name], weighted(outputs[name], targets[name], weights[name]))
        torch.testing.assert_close(plain[name], weighted(outputs[name], targets[name], torch.ones_like(weights[name])))
    del weights["age"]
    assert given.losses_of(outputs, read, weights)["age"] == plain["age"]


class Absolute(mtlue.Classification):
    """Classes with an order, and a loss that knows it."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output.argmax(dim=1) - target).abs().float().mean() + output.mean()


def test_a_loss_of_ones_own_is_not_weighted() -> None:
    given = mtlue.Surrogate(nn.Identity(), {"years": Absolute(3)})
    outputs, targets = {"years": torch.randn(4, 3)}, read_targets({"years": torch.arange(4) % 3}, given.tasks)
    weights = {"years": torch.tensor([1.0, 5.0, 9.0])}
    assert given.losses_of(outputs, targets, weights) == given.losses_of(outputs, targets)


def test_networks_learn_from_balanced_losses_and_so_does_the_generator() -> None:
    images, _, targets = batch()
    targets["colour"] = torch.tensor([0, 0, 0, 0, 1])
    network = Net()
    loss = mtlue.RestartedEM(lambda seed: network, learning_rate=1e-9)
    first = loss(surrogate(), images, targets)
    weights = {"shape": torch.tensor([5 / 6, 5 / 6, 5 / 3]), "colour": torch.tensor([5 / 8, 5 / 2])}
    answers = network(images)
    expected = torch.stack([weighted(answers[name], targets[name], weights[name]) for name in TASKS]).mean()
    torch.testing.assert_close(first, expected)
    torch.testing.assert_close(torch.autograd.grad(first, images)[0], torch.autograd.grad(expected, images)[0])
    # Counts go on from batch to batch, and from a state.
    rare = {**targets, "colour": torch.tensor([0, 0, 0, 0, 0])}
    other = mtlue.RestartedEM(lambda seed: network, learning_rate=1e-9)
    other.load_state_dict(loss.state_dict())
    assert loss(surrogate(), images, rare) == other(surrogate(), images, rare)
    assert other.state_dict()["class_counts"]["counts"].tolist() == [4, 4, 2, 9, 1]
    assert not mtlue.RestartedEM(lambda seed: network, balanced=False).state_dict()["class_counts"]
