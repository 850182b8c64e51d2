"""What a trained surrogate is shown beside networks that start anew, and how much it counts."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from restarted_networks import Net, batch, surrogate
from snapshots import equal


def both(misleading: float, victim: mtlue.Surrogate, images: Tensor, clean: Tensor, targets: Any) -> tuple[Tensor, Tensor]:
    """The loss with TAP's, and without it, of equal networks."""
    values = []
    for weight in (misleading, 0.0):
        torch.manual_seed(0)
        values.append(mtlue.RestartedEM(lambda seed: Net(), misleading=weight)(victim, images, targets, clean))
    return values[0], values[1]


def test_taps_loss_is_added_and_each_task_begins_with_a_tenth() -> None:
    images, clean, targets = batch()
    victim = surrogate()
    value, without = both(3.0, victim, images, clean, targets)
    expected = 3.0 * 0.1 * mtlue.TAP()(victim, images, targets)
    torch.testing.assert_close(value - without, expected)
    found, restarted = (torch.autograd.grad(each, images, retain_graph=True)[0] for each in (value, without))
    torch.testing.assert_close(found - restarted, torch.autograd.grad(expected, images)[0])


class Giving(nn.Module):
    """A surrogate whose loss on each task is what it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.losses = {"shape": 2.0, "colour": 2.0}
        self.unused = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        zero = 0.0 * (images.mean() + self.unused)
        return {name: zero + torch.full((len(images), 1, 1, 1), value) for name, value in self.losses.items()}


class Told(mtlue.Depth):
    """A task whose loss is the answer."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return output.mean()

    def missing(self, target: Tensor) -> Tensor:
        return target.flatten(1).isnan().all(dim=1)


class Targeted(Told):
    """The same with another label to push towards."""

    def adversarial_target(self, target: Tensor) -> Tensor | None:
        return target


@pytest.mark.parametrize(
    ("kind", "values", "weights"),
    [
        (Targeted, [2.0, 2.0], [0.1, 0.1]),
        (Targeted, [2.0, 1.6], [0.1, 0.4]),
        (Targeted, [2.0, 0.9], [0.1, 1.0]),
        (Targeted, [2.0, 5.0], [0.1, 0.1]),
        # Untargeted, the loss at the true label is to rise, here to twice what it was.
        (Told, [2.0, 4.0], [0.1, 1.0]),
        (Told, [2.0, 2.5], [0.1, 0.4]),
        (Told, [2.0, 1.0], [0.1, 0.1]),
        (Told, [0.0, 0.0], [0.1, 0.1]),
    ],
)
def test_a_task_counts_as_far_as_the_surrogate_has_given_way(
    kind: type[mtlue.Depth], values: list[float], weights: list[float]
) -> None:
    giving = Giving()
    victim = mtlue.Surrogate(giving, {"shape": kind(), "colour": kind()})
    loss = mtlue.RestartedEM(lambda seed: Giving(), misleading=1.0)
    images = torch.rand(4, 3, 2, 2, requires_grad=True)
    giving.losses = dict(zip(giving.losses, [values[0]] * 2, strict=True))
    targets = {name: torch.rand(4, 1, 2, 2) for name in giving.losses}
    for _ in range(200):
        loss(victim, images, targets)
        giving.losses["colour"] = values[1]
    assert loss._misled is not None
    torch.testing.assert_close(loss._misled.weights, torch.tensor(weights), atol=2e-3, rtol=0.0)


def test_a_task_without_labels_is_left_as_it_was() -> None:
    images, clean, targets = batch()
    loss = mtlue.RestartedEM(lambda seed: Net(), misleading=1.0)
    loss(surrogate(), images, {**targets, "colour": torch.full((5,), -1)}, clean)
    first = copy.deepcopy(loss.state_dict()["misled"])
    assert first["first"].isnan().tolist() == [False, True]
    assert loss._misled is not None
    torch.testing.assert_close(loss._misled.weights, torch.tensor([0.1, 0.1]))
    loss(surrogate(), images, targets, clean)
    second = loss.state_dict()["misled"]
    assert torch.equal(second["first"][:1], first["first"][:1])
    assert second["first"].isfinite().all()


def test_its_state_goes_on() -> None:
    images, clean, targets = batch()
    victim = surrogate()
    whole, taken_up = (mtlue.RestartedEM(lambda seed: Net(), misleading=1.0) for _ in range(2))
    for step in range(4):
        if step == 2:
            taken_up.load_state_dict(copy.deepcopy(whole.state_dict()))
        for loss in (whole, taken_up)[: 1 + (step >= 2)]:
            torch.manual_seed(step)
            loss(victim, images, targets, clean)
    assert equal(whole.state_dict(), taken_up.state_dict())


def test_a_surrogate_that_protect_makes_is_trained_for_a_fifth_of_the_epochs(canvases: Any, caplog: Any) -> None:
    caplog.set_level("INFO", logger="mtlue")
    mtlue.protect(canvases, loss=mtlue.RestartedEM(misleading=1.0), epochs=10, check=False, progress=False)
    assert any("surrogate: 48 samples, 2 epochs" in line for line in caplog.messages), caplog.messages
    caplog.clear()
    mtlue.protect(canvases, loss=mtlue.RestartedEM(), epochs=2, check=False, progress=False)
    assert not any(line.startswith("surrogate: ") for line in caplog.messages)
