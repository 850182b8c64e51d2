"""Perturbations found pixel by pixel: what a step is, what bounds it, and what comes of it."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mtlue
from mtlue.baselines._pgd import pgd
from pixel_search import EM, FAST, QUIET, TASKS, Own, WithNorm, changes, stack


@pytest.mark.parametrize("kind", ["tap", "sep of states", "sep of modules", "em"])
def test_the_loss_falls_on_the_images_that_are_stored(canvases: Any, net: nn.Module, make_net: Any, kind: str) -> None:
    members = [copy.deepcopy(net), copy.deepcopy(net)]
    nn.init.normal_(members[0][1].bias, generator=torch.Generator().manual_seed(0))
    loss: Any = {
        "tap": mtlue.TAP(),
        "sep of states": mtlue.SEP([member.state_dict() for member in members]),
        "sep of modules": mtlue.SEP(members),
        "em": mtlue.EM(),
    }[kind]
    settings = {**EM, "learning_rate": 0.01} if kind == "em" else FAST
    model = make_net() if kind == "em" else net
    safe = pgd(canvases, tasks=TASKS, surrogate=model, loss=loss, **settings, **QUIET)
    surrogate = mtlue.Surrogate(model, TASKS)
    with torch.no_grad():
        clean, protected = (loss(surrogate, stack(list(data))[0] / 255, stack(canvases)[1]) for data in (canvases, safe))
    assert protected < 0.8 * clean
    assert isinstance(safe, mtlue.ProtectedDataset)
    assert safe.generator is None
    assert safe.epsilon == 8 / 255
    assert [target for _, target in safe] == [target for _, target in canvases]


@pytest.mark.parametrize(("epsilon", "limit"), [(8 / 255, 8), (0.03, 7), (1.5 / 255, 1), (20 / 255, 20)])
@pytest.mark.parametrize("kind", ["frozen", "em"])
def test_the_budget_holds_once_stored(canvases: Any, net: nn.Module, epsilon: float, limit: int, kind: str) -> None:
    loss = mtlue.TAP() if kind == "frozen" else mtlue.EM()
    rounds = {"rounds": 2, "stop_accuracy": 1.1}
    safe = pgd(
        canvases, tasks=TASKS, surrogate=net, loss=loss, epsilon=epsilon, steps=3, step_size=0.6, **rounds, **QUIET
    )  # fmt: skip
    difference = changes(safe, canvases).abs()
    assert int(difference.max()) == limit
    # Steps that large end at the bound; these images have room for them.
    assert (difference == limit).float().mean() > 0.99


def test_one_step_worked_out_by_hand() -> None:
    """Logit s = x . (1, -2, 0, 3): towards label 1 every pixel moves with the sign of its weight, towards 0 against it."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[1.0, -2.0, 0.0, 3.0]]))
    # The bright image is of class 1; TAP shows each the other class. Black and white have no room on one side.
    dataset = [
        (torch.tensor([10, 200, 100, 1], dtype=torch.uint8).reshape(1, 2, 2), {"bright": 0}),
        (torch.tensor([0, 254, 100, 255], dtype=torch.uint8).reshape(1, 2, 2), {"bright": 1}),
    ]
    settings: dict[str, Any] = {"tasks": {"bright": 2}, "surrogate": net, "loss": mtlue.TAP(), "step_size": 3 / 255, **QUIET}
    safe = pgd(dataset, steps=1, **settings)
    assert stack(list(safe))[0].flatten(1).tolist() == [[13, 197, 100, 4], [0, 255, 100, 252]]
    # From zero: after two steps six levels, after three the eight of the budget.
    twice, thrice = (pgd(dataset, steps=steps, **settings) for steps in (2, 3))
    assert stack(list(twice))[0].flatten(1).tolist() == [[16, 194, 100, 7], [0, 255, 100, 249]]
    assert stack(list(thrice))[0].flatten(1).tolist() == [[18, 192, 100, 9], [0, 255, 100, 247]]


@pytest.mark.parametrize("batch_size", [48, 7, 1])
def test_batches_agree_with_a_loop_over_single_samples(canvases: Any, net: nn.Module, batch_size: int) -> None:
    model, epsilon, step_size = WithNorm(net).eval(), 5 / 255, 0.7 / 255
    images, targets = stack(canvases[:15])
    expected = []
    for index, image in enumerate(images):
        clean, delta = image[None] / 255, torch.zeros(1, 1, 16, 16)
        for _ in range(9):
            delta = delta.clone().requires_grad_(True)
            logits = model((clean + delta).clamp(0, 1))[0]
            loss = sum(
                F.binary_cross_entropy_with_logits(logits[k], 1.0 - targets[name][index]) for k, name in enumerate(TASKS)
            )
            loss.backward()
            delta = (delta - step_size * delta.grad.sign()).detach().clamp(-epsilon, epsilon)
        levels = (delta[0] * 255).round()
        expected.append((image + levels).clamp(0, 255))
    model.zero_grad(set_to_none=True)
    settings = {**QUIET, "batch_size": batch_size}
    safe = pgd(
        canvases[:15], tasks=TASKS, surrogate=model, loss=mtlue.TAP(), epsilon=epsilon, steps=9, step_size=step_size, **settings
    )
    assert torch.equal(stack(list(safe))[0].float(), torch.stack(expected))


def test_a_pixel_that_was_pushed_out_of_the_range_comes_back(net: nn.Module) -> None:
    """Behind the clamp it would take no gradient: one step up from white, one down."""
    signs = itertools.cycle([-1.0, 1.0])
    dataset = [(torch.full((1, 16, 16), 255, dtype=torch.uint8), {"shoe": 0, "front": 1})]
    loss = Own(lambda images: next(signs) * images.sum())
    safe = pgd(dataset, tasks=TASKS, surrogate=net, loss=loss, steps=2, step_size=2 / 255, **QUIET)
    assert changes(safe, dataset).unique().tolist() == [-2]


def test_the_rounds_of_a_frozen_loss_are_so_many_more_steps(canvases: Any, net: nn.Module) -> None:
    settings: dict[str, Any] = {"tasks": TASKS, "surrogate": net, "loss": mtlue.TAP(), "step_size": 0.7 / 255, **QUIET}
    calls: list[Any] = []
    several = pgd(canvases, steps=3, rounds=4, **{**settings, "progress": calls.append})
    assert torch.equal(changes(several, canvases), changes(pgd(canvases, steps=12, **settings), canvases))
    assert [figures["step"] for figures in calls] == list(range(1, 1 + 3 * 12))
    assert {figures["steps"] for figures in calls} == {36}
    # Each batch is finished before the next is begun, and falls on its own.
    for batch in range(3):
        losses = [figures["loss"] for figures in calls[12 * batch : 12 * batch + 12]]
        assert losses == sorted(losses, reverse=True)


def test_augmentation_is_drawn_anew_in_each_step(canvases: Any, net: nn.Module) -> None:
    drawn: list[float] = []

    def augment(images: Tensor) -> Tensor:
        assert images.requires_grad
        drawn.append(float(torch.rand(())))
        return images

    pgd(canvases, tasks=TASKS, surrogate=net, loss=mtlue.TAP(), steps=5, augment=augment, **QUIET)
    assert len(set(drawn)) == len(drawn) == 15


class Dense(nn.Module):
    """Answers a segmentation and a depth task."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Conv2d(3, 4, 3, padding=1)
        generator = torch.Generator().manual_seed(0)
        for parameter in self.net.parameters():
            nn.init.normal_(parameter, std=2.0, generator=generator)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        maps = self.net(images)
        return {"class": maps[:, :3], "depth": maps[:, 3:]}


class Adversarial(mtlue.BaseUELoss):
    """TAP that does not ask whether the surrogate is trained."""

    trains_surrogate = False

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return surrogate.adversarial_loss(images, targets)


@pytest.mark.parametrize("loss", [Adversarial(), mtlue.EM()], ids=["frozen", "em"])
def test_label_maps_need_nothing_else(loss: Any) -> None:
    random = torch.Generator().manual_seed(1)
    tasks = {"class": mtlue.Segmentation(3), "depth": mtlue.Depth()}
    dataset = []
    for _ in range(9):
        classes = torch.randint(-1, 3, (9, 7), generator=random)
        depth = torch.rand(1, 9, 7, generator=random).mul(2).relu()
        dataset.append((0.2 + 0.6 * torch.rand(3, 9, 7, generator=random), {"class": classes, "depth": depth}))
    # Without a single label nothing pulls at an image.
    dataset.append((torch.rand(3, 9, 7, generator=random), {"class": torch.full((9, 7), -1), "depth": torch.zeros(1, 9, 7)}))
    net = Dense()
    safe = pgd(dataset, tasks=tasks, surrogate=net, loss=loss, **EM, **{**QUIET, "batch_size": 4})
    targets = {name: torch.stack([target[name] for _, target in dataset]) for name in tasks}
    clean, protected = (torch.stack([image for image, _ in data]) for data in (dataset, safe))
    surrogate = mtlue.Surrogate(net, tasks)
    with torch.no_grad():
        assert loss(surrogate, protected, targets) < loss(surrogate, clean, targets) - 0.01
    levels = (protected * 255).round() - (clean * 255).round()
    assert levels[:-1].abs().flatten(1).amax(1).tolist() == [8] * 9
    assert not levels[-1].any()
