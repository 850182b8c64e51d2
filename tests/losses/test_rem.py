"""Robust error-minimising: the loss at the worst images, for the perturbation and for the surrogate that learns in turn."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.transforms import Normalize

import mtlue
from killed_run import same_state
from mtlue import baselines, defenses, evaluation
from multi_fashion import MultiFashion


def linear(weights: list[float]) -> nn.Module:
    net = nn.Sequential(nn.Flatten(), nn.Linear(len(weights), 1, bias=False))
    net[1].weight.data = torch.tensor([weights])
    return net


def test_the_loss_and_its_gradient_are_those_at_the_corner() -> None:
    """On a linear model the worst image is known: each pixel moves against its weight by the radius, as far as [0, 1] goes."""
    surrogate = mtlue.Surrogate(linear([3.0, -2.0, 1.0]), {"a": 2})
    images = torch.tensor([[0.5, 0.5, 0.05]]).view(1, 1, 1, 3).requires_grad_()
    loss = mtlue.REM(radius=0.1, step_size=0.15, steps=3)(surrogate, images, {"a": torch.tensor([1])})
    logit = 3 * 0.4 - 2 * 0.6 + 1 * 0.0
    torch.testing.assert_close(loss, F.softplus(torch.tensor(-logit)))
    slope = -torch.sigmoid(torch.tensor(-logit))
    (gradient,) = torch.autograd.grad(loss, images)
    torch.testing.assert_close(gradient.flatten(), slope * torch.tensor([3.0, -2.0, 1.0]))


def test_it_is_larger_than_em_and_leaves_the_surrogate_as_it_was() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 2)).eval()
    surrogate, images = mtlue.Surrogate(net, {"a": 2}), torch.rand(6, 3, 2, 2).requires_grad_()
    targets, before = {"a": torch.arange(6) % 2}, {name: value.clone() for name, value in net.state_dict().items()}
    plain, robust = (loss(surrogate, images, targets) for loss in (mtlue.EM(), mtlue.REM(radius=0.05, step_size=0.02)))
    assert robust > plain
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in net.parameters())


def test_its_own_settings_are_those_of_the_paper() -> None:
    """Ten steps of a fifth of the radius, which is half of a budget of 8/255."""
    loss = mtlue.REM()
    assert (loss.radius, loss.steps, loss.samples) == (4 / 255, 10, 1)
    assert loss.step_size == pytest.approx(loss.radius / 5)


def test_it_averages_over_draws_of_its_augmentation() -> None:
    calls = []

    def brighter(images: Tensor) -> Tensor:
        calls.append(len(images))
        return images + 0.1 * (len(calls) % 2)

    surrogate = mtlue.Surrogate(linear([10.0]), {"a": 2})
    loss = mtlue.REM(radius=1e-6, step_size=1e-6, steps=1, transform=brighter, samples=4)
    value = loss(surrogate, torch.full((1, 1, 1, 1), 0.2), {"a": torch.tensor([1])})
    assert calls == [1] * 4
    torch.testing.assert_close(value, F.softplus(torch.tensor([-2.0, -3.0])).mean(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("verb", ["fit", "pgd"])
def test_the_surrogate_learns_what_the_loss_says(script: ModuleType, verb: str) -> None:
    """A loss that has the surrogate learn nothing leaves its weights; REM's has it learn something other than EM's."""

    class Idle(mtlue.EM):
        def surrogate_loss(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
            return 0.0 * surrogate.loss(images, targets)

    def learned(loss: mtlue.BaseUELoss) -> Tensor:
        dataset, net, generator = script.parts()
        if verb == "fit":
            mtlue.fit(generator, dataset, net, loss=loss, epochs=1, batch_size=8, surrogate_steps=3, progress=False)
        else:
            search: dict[str, Any] = {"tasks": generator.tasks, "surrogate": net, "loss": loss, "steps": 1, "batch_size": 8}
            baselines.pgd(dataset, **search, progress=False)
        return net[2].weight.detach()

    start = script.parts()[1][2].weight
    idle, plain, robust = (learned(loss) for loss in (Idle(), mtlue.EM(), mtlue.REM(steps=2)))
    assert torch.equal(idle, start)
    assert not torch.equal(plain, start)
    assert not torch.equal(robust, plain)


@pytest.mark.parametrize(("verb", "step"), [("fit", 8), ("pgd", 11)])
def test_an_interrupted_run_goes_on(script: ModuleType, tmp_path: Path, verb: str, step: int) -> None:
    def interrupt(figures: Any) -> None:
        if figures["step"] == step:
            raise KeyboardInterrupt

    run, loss = getattr(script, verb), mtlue.REM(steps=2)
    with pytest.raises(KeyboardInterrupt):
        run("rem", tmp_path / "broken", progress=interrupt, loss=loss)
    with pytest.raises(ValueError, match=r"loss was|another loss"):
        run("rem", tmp_path / "broken", loss=mtlue.REM(steps=3))
    broken, whole = (run("rem", tmp_path / name, loss=mtlue.REM(steps=2)) for name in ("broken", "whole"))
    if verb == "fit":
        assert same_state(broken[0], whole[0])
        assert same_state(broken[1], whole[1])
    else:
        assert (tmp_path / "broken" / "images-000000.bin").read_bytes() == (
            tmp_path / "whole" / "images-000000.bin"
        ).read_bytes()


def test_its_noise_stays_easy_to_learn_for_an_adversary_where_that_of_em_does_not() -> None:
    """Labels that the images do not tell: adversarial training has a lower loss on REM's perturbations."""
    images = F.avg_pool2d(MultiFashion(160, train=True).images.float(), 4) / 255
    labels = torch.randint(2, (160,), generator=torch.Generator().manual_seed(0))
    dataset = list(zip(0.3 + 0.4 * images, labels.tolist(), strict=True))
    adversary = {"radius": 6 / 255, "step_size": 3 / 255, "steps": 4}

    def net(seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return nn.Sequential(Normalize((0.5,), (0.1,)), nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 2))

    def robust_loss(loss: mtlue.BaseUELoss) -> float:
        search: dict[str, Any] = {"rounds": 6, "steps": 10, "step_size": 1.6 / 255, "surrogate_steps": 20, "batch_size": 40}
        search |= {"learning_rate": 0.01, "stop_accuracy": 1.1, "progress": False}
        safe = baselines.pgd(dataset, tasks={"a": 2}, surrogate=net(0), loss=loss, **search)
        defense = defenses.AdversarialTraining(**adversary)
        training: dict[str, Any] = {"epochs": 12, "batch_size": 20, "learning_rate": 0.01, "progress": False}
        victim = evaluation.train_victim(
            safe, tasks={"a": 2}, model=net(5), transform=lambda images: images, defense=defense, **training
        )
        judged, seen = mtlue.Surrogate(victim, {"a": 2}), torch.stack([image for image, _ in safe])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            return float(judged.loss(defense.attack(judged, seen, {"a": labels}), {"a": labels}).detach())

    assert robust_loss(mtlue.REM(**adversary)) < 0.5 * robust_loss(mtlue.EM())


@pytest.mark.parametrize(
    ("error", "message", "changes"),
    [
        (ValueError, "radius: expected 0 < radius <= 1, got 4; images are in", {"radius": 4}),
        (ValueError, "radius: expected 0 < radius <= 1, got 1.5", {"radius": 1.5}),
        (ValueError, "step_size: expected a number > 0, got 0", {"step_size": 0}),
        (ValueError, "steps: expected at least 1, got 0", {"steps": 0}),
        (ValueError, "samples: expected at least 1, got 0", {"samples": 0}),
        (TypeError, "transform: expected a function on images, got 'flip'", {"transform": "flip"}),
    ],
)
def test_wrong_arguments(error: Any, message: str, changes: dict[str, Any]) -> None:
    with pytest.raises(error, match=message):
        mtlue.REM(**changes)


def test_a_surrogate_loss_that_is_no_scalar_is_told(script: ModuleType) -> None:
    class Wrong(mtlue.EM):
        def surrogate_loss(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Any:
            return None

    with pytest.raises(TypeError, match=r"loss: expected a scalar tensor from Wrong\.surrogate_loss, got NoneType"):
        script.fit("em", None, loss=Wrong())
