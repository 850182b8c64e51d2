"""Runs that kill themselves when they are run as a script, and go on when they are called from a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import mtlue
from mtlue import baselines, defenses
from snapshots import equal

torch.set_num_threads(1)


def parts() -> tuple[list[Any], nn.Module, mtlue.UEGenerator]:
    """The data set, the surrogate and the generator, always the same."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (20, 1, 10, 9), generator=random, dtype=torch.uint8)
    labels = torch.randint(2, (20, 2), generator=random)
    torch.manual_seed(1)
    net = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(90), nn.Linear(90, 2))
    generator = mtlue.UEGenerator({"task0": 2, "task1": 2}, (1, 10, 9), width=4)
    return [(image, tuple(label.tolist())) for image, label in zip(images, labels, strict=True)], net, generator


class Untargeted(mtlue.BaseUELoss):
    """Frozen like TAP, and content with an untrained surrogate."""

    trains_surrogate = False

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        return surrogate.adversarial_loss(images, targets)


class Students(mtlue.BaseUELoss):
    """EM against networks that learn inside the loss: its gradient at the images comes first, then they take a step."""

    def __init__(self, rate: float = 0.01, *, trains_surrogate: bool = False) -> None:
        self.rate, self.trains_surrogate = rate, trains_surrogate
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(2)
            self.checkpoints = [nn.Sequential(nn.Flatten(), nn.BatchNorm1d(90), nn.Linear(90, 2)) for _ in range(2)]
        parameters = [parameter for student in self.checkpoints for parameter in student.parameters()]
        self._optimizer, self._calls = torch.optim.Adam(parameters, lr=rate), 0

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        self._calls += 1
        leaf = images.detach().requires_grad_()
        value = torch.stack([surrogate.with_module(each).loss(leaf, targets) for each in self.checkpoints]).mean()
        self._optimizer.zero_grad()
        value.backward()
        self._optimizer.step()
        assert leaf.grad is not None
        return value.detach() + (leaf.grad * (images - images.detach())).sum()

    def state_dict(self) -> dict[str, Any]:
        students = [student.state_dict() for student in self.checkpoints]
        return {"students": students, "optimizer": self._optimizer.state_dict(), "calls": self._calls}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for student, kept in zip(self.checkpoints, state["students"], strict=True):
            student.load_state_dict(kept)
        self._optimizer.load_state_dict(state["optimizer"])
        self._calls = state["calls"]


def loss_of(kind: str) -> mtlue.BaseUELoss:
    if kind == "restarted":
        # Replaced after four steps, amid the second epoch of three, or earlier.
        settings: dict[str, Any] = {"count": 2, "restart_steps": 4, "restart_loss": 0.9, "learning_rate": 0.03}
        return mtlue.RestartedEM(distortions=[defenses.differentiable_jpeg], focus=1.0, misleading=1.0, **settings)
    if kind.startswith("students"):
        return Students(trains_surrogate=kind == "students and surrogate")
    return mtlue.EM() if kind == "em" else Untargeted()


def fit(
    kind: str, checkpoint: Any, progress: Any = False, loss: Any = None, **changes: Any
) -> tuple[mtlue.UEGenerator, nn.Module, mtlue.History]:
    dataset, net, generator = parts()
    settings: dict[str, Any] = {
        "epochs": 5,
        "batch_size": 8,
        "stop_accuracy": 1.1,
        "surrogate_steps": 3,
        "precision": torch.float32,
    }
    settings.update({"augment": lambda images: images + 0.01 * torch.rand_like(images), **changes})
    loss = loss_of(kind) if loss is None else loss
    history = mtlue.fit(generator, dataset, net, loss=loss, checkpoint=checkpoint, progress=progress, **settings)
    return generator, net, history


def protect(kind: str, path: Any, progress: Any = False, **changes: Any) -> Any:
    dataset, net, generator = parts()
    settings: dict[str, Any] = {"epochs": 4, "batch_size": 4, "fraction": 0.8, "precision": torch.float32, **changes}
    settings = {"loss": loss_of(kind), **settings}
    settings.update(surrogate=net, generator=generator, path=path, progress=progress)
    return mtlue.protect(dataset, **settings)


def pgd(kind: str, path: Any, progress: Any = False, **changes: Any) -> Any:
    dataset, net, generator = parts()
    settings: dict[str, Any] = {"batch_size": 8, "rounds": 2, "steps": 3, "step_size": 1.3 / 255, "surrogate_steps": 2}
    settings.update(stop_accuracy=1.1, precision=torch.float32, tasks=generator.tasks, surrogate=net, loss=loss_of(kind))
    return baselines.pgd(dataset, path=path, progress=progress, **{**settings, **changes})


def kill(verb: str, kind: str, path: Path, stage: str, step: int) -> None:
    """Run a verb in another process, which kills itself at a step of a stage, or after the store is out."""
    done = subprocess.run([sys.executable, __file__, verb, kind, str(path), stage, str(step)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def same_state(left: nn.Module, right: nn.Module) -> bool:
    """Whether two modules have equal parameters and buffers."""
    return equal(left.state_dict(), right.state_dict())


def _killer(stage: str, at: int) -> Callable[[Any], None]:
    def kill_here(figures: Any) -> None:
        if ("base_loss" in figures) == (stage == "fit") and figures["step"] == at:
            os.kill(os.getpid(), signal.SIGKILL)

    return kill_here


def _publish_and_die(source: Any, target: Any, replace: Any = os.replace) -> None:
    replace(source, target)
    if str(target) == sys.argv[3]:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    chosen, of, where, stage, step = sys.argv[1:]
    if stage == "publish":
        os.replace = _publish_and_die
    {"fit": fit, "protect": protect, "pgd": pgd}[chosen](of, where, progress=_killer(stage, int(step)))
