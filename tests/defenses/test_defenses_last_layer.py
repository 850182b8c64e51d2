"""Last-layer retraining: the heads learn, and nothing else changes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue._data import Batch
from mtlue._losses.heads import find_heads
from mtlue._tasks import CheckedTargets
from mtlue.defenses import LastLayerRetraining
from multi_fashion import MultiFashion

TASKS = {"left": 10, "right": 10, "front": 2}


class Fashion(nn.Module):
    """A shared body with batch normalisation and dropout, and a linear head for each task, named otherwise than heads."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.answers = nn.ModuleDict({name: nn.Linear(64, classes) for name, classes in TASKS.items()})
            self.body = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(4))
            self.dropout = nn.Dropout(0.5)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.dropout(self.body(images).flatten(1))
        return {name: head(features) for name, head in self.answers.items()}


def changed(before: nn.Module, after: nn.Module) -> set[str]:
    old = before.state_dict()
    return {name for name, tensor in after.state_dict().items() if not torch.equal(tensor, old[name])}


def test_only_the_heads_change_and_they_learn() -> None:
    network = Fashion().eval()
    frozen = network.body[0].weight
    frozen.requires_grad_(False)
    before, clean = copy.deepcopy(network), MultiFashion(60, train=False)
    images, targets = clean.images.float() / 255, clean.targets
    victim = mtlue.Surrogate(network, TASKS)
    loss = victim.loss(images, targets).item()
    LastLayerRetraining(clean, steps=120, batch_size=20, learning_rate=0.02).finish(victim)
    assert changed(before, network) == {f"answers.{name}.{part}" for name in TASKS for part in ("weight", "bias")}
    assert victim.loss(images, targets).item() < loss - 0.1
    assert not network.training
    assert [parameter is frozen for parameter in network.parameters()] == [not p.requires_grad for p in network.parameters()]
    assert all(parameter.grad is None for parameter in network.parameters())


def test_equal_states_of_the_random_numbers_give_equal_heads() -> None:
    clean, results = MultiFashion(20, train=False), []
    for seed in (0, 0, 1):
        network = Fashion()
        torch.manual_seed(seed)
        LastLayerRetraining(clean, steps=1, batch_size=8).finish(mtlue.Surrogate(network, TASKS))
        results.append(network.answers["left"].weight)
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_one_task_of_several_is_retrained_alone() -> None:
    """What the model has for tasks that nobody asks for stays."""
    network = Fashion()
    before = copy.deepcopy(network)
    heads: Callable[[nn.Module], Iterable[nn.Parameter]] = lambda module: module.answers["front"].parameters()  # noqa: E731
    LastLayerRetraining(MultiFashion(8, train=False), steps=1, heads=heads).finish(mtlue.Surrogate(network, {"front": 2}))
    assert changed(before, network) == {"answers.front.weight", "answers.front.bias"}


def found(module: nn.Module, tasks: dict[str, mtlue.Task | int]) -> set[str]:
    images = torch.rand(3, 1, 8, 8)
    targets = {name: torch.zeros(3, dtype=torch.long) for name in tasks}
    if "depth" in tasks:
        targets["depth"] = torch.rand(3, 1, 8, 8)
    heads = {id(parameter) for parameter in find_heads(mtlue.Surrogate(module, tasks), Batch(images, CheckedTargets(targets)))}
    return {name for name, parameter in module.named_parameters() if id(parameter) in heads}


def test_how_heads_are_found() -> None:
    def body() -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(1, 2, 8), nn.Flatten())

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.heads = nn.ModuleList([nn.Linear(2, 3), nn.Linear(2, 2)])
            self.body = body()
            self.unused = nn.Linear(4, 4)

        def forward(self, images: Tensor) -> list[Tensor]:
            return [head(self.body(images)) for head in self.heads]

    both = {"age": 3, "young": 2}
    assert found(Named(), both) == {f"heads.{index}.{part}" for index in (0, 1) for part in ("weight", "bias")}
    # No attribute of that name: by the flow of the losses, which no unused layer takes part in.
    assert found(Fashion(), dict(TASKS)) == {f"answers.{name}.{part}" for name in TASKS for part in ("weight", "bias")}
    # One layer for both tasks, and one task: the last layer.
    shared = nn.Sequential(*body(), nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2), nn.Identity())
    assert found(shared, {"smiling": 2, "young": 2}) == {"4.weight", "4.bias"}
    assert found(shared, {"young": 2}) == {"4.weight", "4.bias"}
    dense = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 1, 1))
    assert found(dense, {"depth": mtlue.Depth()}) == {"1.weight", "1.bias"}


class Mute(nn.Module):
    """Has parameters, and no layer that could be the last."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(()))

    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(1, 2, 3)) + self.shift


def test_a_model_without_heads_is_told() -> None:
    clean = [(torch.rand(1, 2, 2), 0)]
    victim = mtlue.Surrogate(Mute(), {"young": 2})
    with pytest.raises(ValueError, match="heads: found no last layer in Mute; give a function"):
        LastLayerRetraining(clean).finish(victim)
    with pytest.raises(ValueError, match="heads: expected parameters of the model, got none of Mute"):
        LastLayerRetraining(clean, heads=lambda module: []).finish(victim)
    with pytest.raises(ValueError, match="heads: expected parameters of the model, got some that Mute does not have"):
        LastLayerRetraining(clean, heads=lambda module: nn.Linear(1, 1).parameters()).finish(victim)
    assert victim.module.training
    assert all(parameter.requires_grad for parameter in victim.module.parameters())
