"""Error minimisation against networks that start anew: its gradient, when they do, and what they see."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue import defenses
from mtlue._runtime.device import autocast
from restarted_networks import TASKS, Net, batch, half, surrogate
from snapshots import equal, snapshot


class Making:
    """Makes networks, and keeps each of them as it was made."""

    def __init__(self) -> None:
        self.made: list[Net] = []
        self.fresh: list[nn.Module] = []

    def __call__(self, seed: int) -> nn.Module:
        self.made.append(Net())
        self.fresh.append(copy.deepcopy(self.made[-1]))
        return self.made[-1]


def elsewhere(images: Tensor, clean: Tensor, turn: int) -> Tensor:
    return (clean[(torch.arange(len(clean)) - turn) % len(clean)] + (images - clean)).clamp(0, 1)


def literal(module: nn.Module, images: Tensor, targets: Any, tasks: Any = TASKS) -> Tensor:
    """Losses of one network by task."""
    answers = module(images)
    return torch.stack([task.loss(answers[name], targets[name]) for name, task in tasks.items()])


def test_gradient_and_step_are_those_of_the_mean_loss() -> None:
    """An oracle: the definition, with one graph through all of it, and a step of Adam after it."""
    images, clean, targets = batch()
    make = Making()
    loss = mtlue.RestartedEM(make, count=2, distortions=[half], curriculum=False, balanced=False, learning_rate=0.1)
    value = loss(surrogate(), images, targets, clean)
    (gradient,) = torch.autograd.grad(value, images)

    turns = [turn for turn in range(5) if torch.equal(elsewhere(images, clean, turn) / 2, make.made[0].seen[0][:5])]
    assert len(turns) == 1
    assert turns != [0]
    views = [elsewhere(images, clean, turns[0]), images]
    changes = [half, lambda images: images]
    changed = [(fresh, change(view)) for fresh, change in zip(make.fresh, changes, strict=True) for view in views]
    losses = [literal(fresh, view, targets).mean() for fresh, view in changed]
    expected = torch.stack(losses).mean()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(gradient, torch.autograd.grad(expected, images, retain_graph=True)[0])
    for fresh, network, own in zip(make.fresh, make.made, (losses[:2], losses[2:]), strict=True):
        optimizer = torch.optim.Adam(fresh.parameters(), lr=0.1)
        torch.autograd.backward(torch.stack(own).mean(), inputs=list(fresh.parameters()))
        optimizer.step()
        for left, right in zip(fresh.parameters(), network.parameters(), strict=True):
            torch.testing.assert_close(left, right)


def test_without_clean_images_they_are_seen_as_they_are() -> None:
    images, _, targets = batch()
    make = Making()
    value = mtlue.RestartedEM(make, balanced=False)(surrogate(), images, targets)
    assert torch.equal(make.made[0].seen[0], images)
    expected = literal(make.fresh[0], images, targets).mean()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, images)[0], torch.autograd.grad(expected, images)[0])


def test_networks_are_replaced_in_turn() -> None:
    images, clean, targets = batch()
    make, calls = Making(), []
    loss = mtlue.RestartedEM(make, count=2, restart_steps=4, restart_loss=0.0)
    for _ in range(9):
        before = len(make.made)
        loss(surrogate(), images, targets, clean)
        calls.append(len(make.made) - before)
    # The second one is two steps old when it begins.
    assert calls == [2, 0, 1, 0, 1, 0, 1, 0, 1]
    assert len({network.heads["shape"].weight.sum().item() for network in make.fresh}) == 6  # type: ignore[index, union-attr]


def test_a_network_is_replaced_once_it_has_learned_and_its_own_images_come_in() -> None:
    images, clean, targets = batch()
    with torch.no_grad():
        images.copy_(clean)
        images[:, 0, 0, 0] = clean[:, 0, 0, 0] + 0.1 * torch.arange(5) % 2
    make, values = Making(), []
    loss = mtlue.RestartedEM(make, restart_loss=0.8, learning_rate=0.05, balanced=False)
    while len(make.made) < 2:
        values.append(loss(surrogate(), images, targets, clean).item())
        assert len(values) < 400
    # On other images alone: the loss is what tells how far it has come.
    assert all(len(seen) == 5 for seen in make.made[0].seen)
    first = mean = values[0]
    for number, value in enumerate(values[:-1]):
        mean += 0.1 * (value - mean)
        assert (mean < 0.8 * first) == (number == len(values) - 2)
    # The new one sees both, its own images for the share that the last one has learned.
    progress = 1 - mean / first
    (seen,) = make.made[1].seen
    assert torch.equal(seen[5:], images)
    other, own = (literal(make.fresh[1], view, targets).mean() for view in (seen[:5], seen[5:]))
    assert values[-1] == pytest.approx(((other + progress * own) / (1 + progress)).item(), rel=1e-5)


def test_focus_weighs_tasks_by_what_is_left_of_their_losses() -> None:
    images, clean, targets = batch()
    make, settings = Making(), {"curriculum": False, "learning_rate": 0.2, "balanced": False}
    loss = mtlue.RestartedEM(make, focus=20.0, **settings)  # type: ignore[arg-type]
    network, first, mean = Net(), torch.zeros(()), torch.zeros(())
    for step in range(6):
        network = copy.deepcopy(make.made[0]) if step else network
        value = loss(surrogate(), images, targets, clean)
        seen = make.made[0].seen[-1]
        network = copy.deepcopy(make.fresh[0]) if not step else network  # type: ignore[assignment]
        losses = torch.stack([literal(network, view, targets) for view in seen.split(5)]).detach()
        if not step:
            first = mean = losses[0]
        weights = torch.softmax(20.0 * mean / first, dim=0)
        assert value.item() == pytest.approx((losses.mean(dim=0) * weights).sum().item(), rel=1e-4)
        mean = mean + 0.1 * (losses[0] - mean)
    assert (weights - 0.5).abs().max() > 0.01


def test_a_missing_label_asks_nothing_and_says_nothing_of_a_network() -> None:
    images, clean, targets = batch()
    nothing = {**targets, "colour": torch.full((5,), -1)}
    make = Making()
    loss = mtlue.RestartedEM(make, curriculum=False, restart_loss=0.5)
    for _ in range(3):
        loss(surrogate(), images, targets, clean)
    learned = loss._learners[0]._mean.clone()
    value = loss(surrogate(), images, nothing, clean)
    (gradient,) = torch.autograd.grad(value, images)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert gradient.abs().sum() > 0
    after = loss._learners[0]._mean
    assert after[1] == learned[1]
    assert after[0] != learned[0]
    # A network that began without a label of a task is measured from the first one on.
    begun = mtlue.RestartedEM(Making(), restart_loss=0.5)
    begun(surrogate(), images, nothing, clean)
    begun(surrogate(), images, targets, clean)
    assert begun._learners[0]._first[1] == begun._learners[0]._mean[1] > 0
    empty = {name: torch.full((5,), -1) for name in targets}
    value = mtlue.RestartedEM(Making(), restart_loss=0.5)(surrogate(), images, empty, clean)
    assert value == 0
    assert not torch.autograd.grad(value, images)[0].any()
    assert loss._learners[0].state_dict()["first"].isfinite().all()


class Maps(nn.Module):
    """Answers with maps and with a class of the whole image."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(3, 4 + 1, 3, padding=1), nn.Linear(5, 2)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.body(images)
        return {"room": maps[:, :4], "depth": maps[:, 4:], "indoors": self.head(maps.mean(dim=(2, 3)))}


def test_label_maps() -> None:
    tasks: dict[str, mtlue.Task] = {
        "room": mtlue.Segmentation(4),
        "depth": mtlue.Depth(),
        "indoors": mtlue.Classification(2),
    }
    torch.manual_seed(0)
    clean = torch.rand(3, 3, 6, 5)
    images = (clean + 0.01).clamp(0, 1).requires_grad_(True)
    targets = {"room": torch.randint(-1, 4, (3, 6, 5)), "depth": torch.rand(3, 1, 6, 5).round(), "indoors": torch.arange(3) % 2}
    loss, given = mtlue.RestartedEM(curriculum=False, balanced=False), mtlue.Surrogate(Maps(), tasks)
    value = loss(given, images, targets, clean)
    assert torch.autograd.grad(value, images)[0].abs().sum() > 0
    twin = copy.deepcopy(loss._learners[0].module)
    torch.manual_seed(5)
    value = loss(given, images, targets, clean)
    torch.manual_seed(5)
    turn = int(torch.randint(1, 3, ()))
    expected = torch.stack([literal(twin, view, targets, tasks).mean() for view in (elsewhere(images, clean, turn), images)])
    torch.testing.assert_close(value, expected.mean())
    torch.testing.assert_close(
        torch.autograd.grad(value, images)[0], torch.autograd.grad(expected.mean(), images)[0], atol=1e-6, rtol=1e-4
    )


def test_the_surrogate_stays_as_it_is_and_copies_are_drawn_anew() -> None:
    given = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Dropout(0.5), nn.Linear(12, 2)).eval()
    with torch.no_grad():
        given[1].running_mean.fill_(7.0)  # type: ignore[operator, union-attr]
    given.requires_grad_(False)
    before = snapshot(given)
    images, clean, targets = batch()
    loss = mtlue.RestartedEM(count=2, restart_steps=2)
    for _ in range(3):
        loss(mtlue.Surrogate(given, {"colour": 2}), images, {"colour": targets["colour"]}, clean)
    assert equal(snapshot(given), before)
    for learner in loss._learners:
        assert all(parameter.requires_grad for parameter in learner.module.parameters())
        assert not torch.equal(learner.module[3].weight, given[3].weight)  # type: ignore[operator]
        assert learner.module[1].running_mean.abs().max() < 1  # type: ignore[operator]
        assert learner.module.training


@pytest.mark.parametrize("clean", [True, False])
def test_a_batch_of_one_image(clean: bool) -> None:
    """Batch normalisation refuses to train on it."""
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Linear(12, 2))
    images = torch.rand(1, 3, 2, 2, requires_grad=True)
    given = (images.detach(),) if clean else ()
    value = mtlue.RestartedEM()(mtlue.Surrogate(net, {"colour": 2}), images, {"colour": torch.tensor([1])}, *given)
    assert torch.autograd.grad(value, images)[0].isfinite().all()


def test_networks_learn_in_full_precision_under_autocast() -> None:
    images, clean, targets = batch()
    enabled: list[bool] = []

    def make(seed: int) -> nn.Module:
        net = Net()
        for parameter in net.parameters():
            parameter.register_hook(lambda gradient: enabled.append(torch.is_autocast_enabled("cpu")))  # type: ignore[no-untyped-call]
        return net

    loss = mtlue.RestartedEM(make, distortions=[defenses.differentiable_jpeg], focus=1.0)
    with autocast(torch.device("cpu"), torch.bfloat16, cache=False):
        values = [loss(surrogate(), images, targets, clean) for _ in range(30)]
    assert set(enabled) == {False}
    assert values[0].dtype == torch.float32
    assert values[-1] < values[0]
    assert torch.autograd.grad(values[0], images)[0].dtype == torch.float32
