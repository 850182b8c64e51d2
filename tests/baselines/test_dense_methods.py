"""EM, TAP and SEP on label maps, alone and beside classes, through the generator and on pixels."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor

import mtlue
from mtlue.baselines import pgd, random_noise
from properties import assert_protected, largest_changes
from scenes import DENSE, MIXED, SceneNet, Scenes, make_scenes, stacked, stored_bytes, trained_net

FIT: dict[str, Any] = {"epochs": 4, "batch_size": 4, "learning_rate": 1e-2, "stop_accuracy": 1.1, "surrogate_steps": 2}
SETS = pytest.mark.parametrize("tasks", [DENSE, MIXED], ids=["dense", "mixed"])
KINDS = pytest.mark.parametrize("kind", ["em", "tap", "sep"])


@pytest.fixture(scope="module")
def scenes() -> Scenes:
    return make_scenes(8)


@pytest.fixture(scope="module")
def trained(scenes: Scenes) -> tuple[SceneNet, list[dict[str, Tensor]]]:
    return trained_net(scenes)


def prepared(trained: tuple[SceneNet, list[dict[str, Tensor]]], kind: str) -> tuple[SceneNet, Any]:
    net, states = copy.deepcopy(trained)
    if kind == "em":
        # Half trained, so that there is something left for both to learn.
        net.load_state_dict(states[0])
    return net, {"em": mtlue.EM(), "tap": mtlue.TAP(), "sep": mtlue.SEP(states)}[kind]


def gain(loss: Any, net: SceneNet, tasks: Any, scenes: Scenes, safe: Any) -> float:
    """By how much the stored change lowers the loss for the surrogate as it is now."""
    (clean, targets), (protected, _) = stacked(scenes), stacked(safe)
    surrogate = mtlue.Surrogate(net, tasks)
    with torch.no_grad():
        return float(loss(surrogate, clean, targets) - loss(surrogate, protected, targets))


@SETS
@KINDS
def test_through_the_generator(tasks: Any, kind: str, scenes: Scenes, trained: Any, make_generator: Any) -> None:
    def run() -> tuple[mtlue.History, Any, float]:
        net, loss = prepared(trained, kind)
        generator = make_generator(tasks, (3, 16, 16))
        history = mtlue.fit(generator, scenes, net, loss=loss, progress=False, **FIT)
        safe = mtlue.protect(scenes, generator=generator, progress=False)
        noise = random_noise(scenes, tasks=tasks)
        return history, safe, gain(loss, net, tasks, scenes, safe) - gain(loss, net, tasks, scenes, noise)

    history, safe, lower = run()
    base = [epoch.base_loss for epoch in history]
    assert all(math.isfinite(value) for value in base)
    assert base[-1] < base[0] - 0.005
    assert lower > (0.003 if kind == "em" else 0.03)
    assert_protected(safe, scenes)
    assert (history[-1].intra_er, history[-1].inter_er) == (0, 0) if tasks is DENSE else history[-1].intra_er != 0
    again, twin, _ = run()
    assert [epoch.base_loss for epoch in again] == base
    assert all(torch.equal(*pair) for pair in zip(stored_bytes(safe), stored_bytes(twin), strict=True))


@SETS
@KINDS
def test_on_pixels(tasks: Any, kind: str, scenes: Scenes, trained: Any) -> None:
    def run() -> tuple[Any, float]:
        net, loss = prepared(trained, kind)
        settings = {"rounds": 2, "steps": 5, "step_size": 2 / 255, "batch_size": 4, "stop_accuracy": 1.1, "progress": False}
        safe = pgd(scenes, tasks=tasks, surrogate=net, loss=loss, **settings)
        return safe, gain(loss, net, tasks, scenes, safe)

    safe, lower = run()
    assert lower > (0.01 if kind == "em" else 0.3)
    assert largest_changes(safe, scenes) == [8] * len(scenes)
    assert all(torch.equal(*pair) for pair in zip(stored_bytes(safe), stored_bytes(run()[0]), strict=True))


def relabelled(labels: Any, name: str) -> Any:
    """Another label of a task for every sample and pixel that has one."""
    change = {
        "scene": lambda value: 1 - value,
        "parts": lambda value: torch.where(value < 0, value, (value + 1) % 3),
        "depth": lambda value: torch.where(value == 0, value, value * value + 0.5),
        "normals": lambda value: value.roll(1, -3) * torch.tensor([-1.0, 1.0, 1.0]).reshape(3, 1, 1),
    }[name]
    return {**labels, name: change(labels[name])}


@pytest.mark.parametrize("left", list(MIXED))
def test_a_task_left_unprotected_has_no_influence_and_the_others_have(
    left: str, scenes: Scenes, trained: Any, make_generator: Any
) -> None:
    generator = make_generator(MIXED, (3, 16, 16))
    mtlue.fit(generator, scenes, trained[0], loss=mtlue.TAP(), progress=False, **{**FIT, "epochs": 2})
    protected = [name for name in MIXED if name != left]

    def bytes_of(dataset: Any, names: Any) -> Tensor:
        return torch.stack(stored_bytes(mtlue.protect(dataset, generator=generator, protected_tasks=names, progress=False)))

    expected = bytes_of(scenes, protected)
    for name in MIXED:
        changed = bytes_of([(image, relabelled(labels, name)) for image, labels in scenes], protected)
        same = (changed == expected).flatten(1).all(dim=1)
        assert same.tolist() == [name == left] * len(scenes)
    # Left unprotected, and without a label at all, is one and the same.
    images, targets = stacked(scenes)
    missing = {**targets, left: torch.full_like(targets[left], -1 if left in ("scene", "parts") else 0)}
    with torch.no_grad():
        assert torch.equal(generator(images, targets, protected_tasks=protected), generator(images, missing))
        assert not torch.equal(generator(images, targets), generator(images, missing))


def test_the_embedder_of_a_task_left_unprotected_does_not_run(scenes: Scenes, make_generator: Any) -> None:
    generator = make_generator(MIXED, (3, 16, 16), trained=True)
    ran: list[str] = []
    for name, embedder in generator.embedders.items():
        embedder.register_forward_hook(lambda *_, name=name: ran.append(name))
    mtlue.protect(scenes, generator=generator, protected_tasks=["scene", "depth"], batch_size=8, progress=False)
    assert set(ran) == {"depth"}


def test_a_surrogate_of_another_resolution_is_told(scenes: Scenes, make_generator: Any) -> None:
    class Coarse(SceneNet):
        def forward(self, images: Tensor) -> dict[str, Tensor]:
            outputs = super().forward(images)
            return {**outputs, **{name: outputs[name][..., ::2, ::2] for name in self.coarse}}

    for name, task in DENSE.items():
        net = Coarse()
        net.coarse = [name]
        words = "does not fit labels of shape"
        shape = rf"surrogate output of task '{name}': shape \(8, {task.output_channels}, 8, 8\) {words} \(8, "
        for loss in (mtlue.EM(), mtlue.TAP()):
            with pytest.raises(ValueError, match=shape):
                mtlue.fit(make_generator(MIXED, (3, 16, 16)), scenes, net, loss=loss, epochs=1, progress=False)
            with pytest.raises(ValueError, match=shape):
                pgd(scenes, tasks=MIXED, surrogate=net, loss=loss, progress=False)
