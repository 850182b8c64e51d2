"""Models as other libraries make them are surrogates as they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mtlue

TASKS = {"shoe": 2, "front": 2}


class TaskByTask(nn.Module):
    """The shape of LibMTL's models: an encoder, a ModuleDict of decoders, and a name that asks for one task alone."""

    def __init__(self) -> None:
        super().__init__()
        self.task_name = list(TASKS)
        self.encoder = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU())
        self.decoders = nn.ModuleDict({name: nn.Linear(8, 2) for name in self.task_name})

    def forward(self, inputs: Tensor, task_name: str | None = None) -> dict[str, Tensor]:
        shared = self.encoder(inputs)
        return {name: self.decoders[name](shared) for name in self.task_name if task_name in (None, name)}


class SharedAndHeads(nn.Module):
    """The shape of TorchJD's examples: a shared module and a list of heads, put together in one module."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Sequential(nn.Flatten(), nn.Linear(256, 8), nn.ReLU())
        self.heads = nn.ModuleList(nn.Linear(8, 1) for _ in TASKS)

    def forward(self, images: Tensor) -> list[Tensor]:
        features = self.shared(images)
        return [head(features) for head in self.heads]


class Trained(nn.Module):
    """The shape of a Lightning module without the library: what a trainer needs beside `forward`."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)

    def training_step(self, batch: Any, batch_index: int) -> Tensor:
        images, targets = batch
        loss = F.binary_cross_entropy_with_logits(self(images), torch.stack(list(targets.values()), dim=1).float())
        self.log("loss", loss)
        return loss

    def log(self, name: str, value: Tensor) -> None:
        raise RuntimeError("the trainer is not there")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters())


def make_lightning() -> nn.Module:
    lightning = pytest.importorskip("lightning", reason="needs the library lightning, which no extra brings")

    class Net(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))

        def forward(self, images: Tensor) -> Tensor:
            return self.net(images)

        training_step = Trained.training_step
        configure_optimizers = Trained.configure_optimizers

    return Net()


MAKERS: list[Callable[[], nn.Module]] = [TaskByTask, SharedAndHeads, Trained, make_lightning]


@pytest.fixture(params=MAKERS, ids=["encoder and decoders", "shared and heads", "trained by a trainer", "Lightning"])
def module(request: pytest.FixtureRequest) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return request.param()


def test_the_outputs_and_the_loss_are_those_of_the_module(module: nn.Module, canvases: Any) -> None:
    images = torch.stack([image for image, _ in canvases]).float() / 255
    targets = {name: torch.tensor([target[name] for _, target in canvases]) for name in TASKS}
    surrogate = mtlue.Surrogate(module, TASKS)
    outputs = surrogate(images)
    assert {name: tuple(output.shape) for name, output in outputs.items()} == {"shoe": (48, 2), "front": (48, 2)}
    answer = module(images)
    by_task = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list) else answer.T
    expected = [
        F.cross_entropy(logits, targets[name])
        if logits.shape[1:] == (2,)
        else F.binary_cross_entropy_with_logits(logits.flatten(), targets[name].float())
        for name, logits in zip(TASKS, by_task, strict=True)
    ]
    torch.testing.assert_close(surrogate.loss(images, targets), torch.stack(expected).mean())


def test_em_trains_it_and_protects(module: nn.Module, canvases: Any) -> None:
    before = {name: value.clone() for name, value in module.state_dict().items()}
    arguments: dict[str, Any] = {"epochs": 1, "batch_size": 16, "device": "cpu", "progress": False}
    safe = mtlue.protect(canvases, tasks=TASKS, surrogate=module, loss=mtlue.EM(), **arguments)
    assert len(safe) == 48
    changes = [(image * 255 - clean).abs().max() for (image, _), (clean, _) in zip(safe, canvases, strict=True)]
    assert 0.5 < max(changes) <= 8 + 1e-3
    # In place, as `mtlue.fit` says, and given back in the mode that it came in.
    assert all(not torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert module.training


def test_a_model_with_more_tasks_than_are_protected_needs_no_change(canvases: Any) -> None:
    surrogate = mtlue.Surrogate(TaskByTask(), {"front": 2})
    assert list(surrogate(torch.rand(3, 1, 16, 16))) == ["front"]


def test_a_model_that_is_asked_task_by_task_is_wrapped_in_three_lines() -> None:
    """As where `forward` needs the name of a task."""
    net = TaskByTask()

    class AllTasks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, images: Tensor) -> dict[str, Tensor]:
            return {name: self.net(images, name)[name] for name in TASKS}

    images = torch.rand(3, 1, 16, 16)
    asked, whole = mtlue.Surrogate(AllTasks(), TASKS)(images), mtlue.Surrogate(net, TASKS)(images)
    assert all(torch.equal(asked[name], whole[name]) for name in TASKS)
