"""Runs with networks that start anew: by the seed, after a kill, and on another device."""

from __future__ import annotations

import copy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

import mtlue
from killed_run import kill, parts, same_state
from mtlue import baselines
from restarted_networks import Net, batch, surrogate
from snapshots import equal


def protected_by(seed: int) -> Tensor:
    dataset, net, generator = parts()
    loss = mtlue.RestartedEM(count=2, restart_steps=3)
    mtlue.fit(generator, dataset, net, loss=loss, epochs=2, batch_size=7, seed=seed, progress=False)
    return torch.cat([parameter.flatten() for parameter in generator.parameters()])


def test_equal_seeds_give_equal_generators() -> None:
    torch.manual_seed(1)
    first = protected_by(3)
    torch.manual_seed(2)
    assert torch.equal(first, protected_by(3))
    assert not torch.equal(first, protected_by(4))


def test_a_fit_lowers_the_loss_of_new_networks(canvases: Any, make_net: Any) -> None:
    generator = mtlue.UEGenerator({"shoe": 2, "front": 2}, (1, 16, 16), epsilon=0.25, width=4)
    loss = mtlue.RestartedEM(restart_steps=20, learning_rate=5e-3)
    settings: dict[str, Any] = {"loss": loss, "epochs": 40, "batch_size": 8, "learning_rate": 5e-3, "progress": False}
    history = mtlue.fit(generator, canvases, make_net(), **settings)
    assert history[-1].base_loss < 0.7 * history[0].base_loss


@pytest.mark.parametrize("step", [2, 8])
def test_a_fit_that_was_killed_goes_on(script: ModuleType, tmp_path: Path, step: int) -> None:
    kill("fit", "restarted", tmp_path / "run.pt", "fit", step)
    broken, whole = script.loss_of("restarted"), script.loss_of("restarted")
    generator, net, _ = script.fit("restarted", tmp_path / "run.pt", loss=broken)
    whole_generator, whole_net, _ = script.fit("restarted", None, loss=whole)
    assert same_state(generator, whole_generator)
    assert same_state(net, whole_net)
    assert equal(broken.state_dict(), whole.state_dict())


@pytest.mark.parametrize(("verb", "stage", "step"), [("protect", "fit", 8), ("protect", "protect", 3), ("pgd", "pgd", 14)])
def test_a_protection_or_search_that_was_killed_goes_on(
    script: ModuleType, tmp_path: Path, verb: str, stage: str, step: int
) -> None:
    kill(verb, "restarted", tmp_path / "broken", stage, step)
    for name in ("broken", "whole"):
        getattr(script, verb)("restarted", tmp_path / name)
    for name in ("images-000000.bin", "manifest.json"):
        assert (tmp_path / "broken" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_state_goes_on_elsewhere_and_is_its_own() -> None:
    images, clean, targets = batch()

    def made() -> mtlue.RestartedEM:
        return mtlue.RestartedEM(lambda seed: Net(), count=2, restart_steps=5, restart_loss=0.9, learning_rate=0.05)

    def call(loss: mtlue.RestartedEM, step: int) -> Tensor:
        torch.manual_seed(step)
        return loss(surrogate(), images, targets, clean)

    whole, second = made(), made()
    assert equal(whole.state_dict(), {"learners": [], "progress": 0.0, "class_counts": {}})
    for step in range(7):
        call(whole, step)
    kept = copy.deepcopy(whole.state_dict())
    second.load_state_dict(whole.state_dict())
    assert equal(second.state_dict(), kept)
    expected = [call(whole, step) for step in range(7, 20)]
    # The one that went on left the other one's state alone.
    assert equal(second.state_dict(), kept)
    assert [call(second, step) for step in range(7, 20)] == expected
    assert equal(second.state_dict(), whole.state_dict())
    second.load_state_dict({"learners": [], "progress": 0.0, "class_counts": {}})
    fresh = made()
    assert torch.equal(call(second, 1), call(fresh, 1))


def test_a_network_goes_on_on_another_device() -> None:
    """A processor by its number is another device to torch."""
    images, clean, targets = batch()
    loss, stayed = (mtlue.RestartedEM(lambda seed: Net(), learning_rate=0.05) for _ in range(2))

    def call(loss: mtlue.RestartedEM, step: int) -> Tensor:
        torch.manual_seed(step)
        return loss(surrogate(), images, targets, clean)

    for step in range(3):
        call(loss, step)
        call(stayed, step)
    learner = loss._learners[0]
    learner.move(torch.device("cpu:0"))
    assert learner._optimizer.state_dict()["state"]
    assert torch.equal(call(loss, 3), call(stayed, 3))
    assert equal(loss.state_dict(), stayed.state_dict())


def test_a_search_pixel_by_pixel(script: ModuleType) -> None:
    dataset, net, generator = parts()
    loss = mtlue.RestartedEM(count=2)
    protected = baselines.pgd(
        dataset, tasks=generator.tasks, surrogate=net, loss=loss, steps=4, step_size=1.3 / 255, progress=False
    )
    assert any(not torch.equal(protected.stored_image(index), image) for index, (image, _) in enumerate(dataset))
