"""Victims and audits that can be broken off at any step, and that kill themselves when this file is run as a script."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from killed_run import parts
from mtlue import baselines, evaluation
from mtlue._runtime import apart
from mtlue.defenses import EarlyStopping
from mtlue.evaluation import Weighting

TASKS = {"task0": 2, "task1": 2}
#: Batches of 8 from 20 samples.
STEPS = 3


class BrokenError(Exception):
    """The user's own error."""


@dataclass
class Fuse:
    """Called in each step of a training; does what it is told to in one of them."""

    at: int = 0
    act: Callable[[], object] = lambda: None
    calls: int = 0

    def __call__(self) -> None:
        self.calls += 1
        if self.calls == self.at:
            self.act()


fuse = Fuse()


def light(at: int, error: type[BaseException]) -> Fuse:
    """Raise an error in the step with this number, counted from now on."""

    def fail() -> None:
        raise error

    fuse.at, fuse.act, fuse.calls = at, fail, 0
    return fuse


def jittered(images: Tensor) -> Tensor:
    """Augmentation that is random, and may fail."""
    fuse()
    return images + 0.01 * torch.rand_like(images)


class Drifting(Weighting):
    """Weights that follow the losses: a parameter that is learned, and a mean that is kept."""

    def prepare(self, tasks_count: int, device: torch.device) -> None:
        self._scale = nn.Parameter(torch.ones(tasks_count, device=device))
        self._mean = torch.zeros(tasks_count, device=device)

    def parameters(self) -> list[nn.Parameter]:
        return [self._scale] if hasattr(self, "_scale") else []

    def backward(self, losses: Any, module: nn.Module) -> None:
        values = torch.stack(list(losses.values()))
        self._mean = 0.9 * self._mean + 0.1 * values.detach()
        (values * self._scale.exp() * (1 + self._mean) - self._scale).sum().backward()

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self._mean}

    def load_state_dict(self, state: Any) -> None:
        self._mean = state["mean"]


@dataclass
class Norms:
    """What the model's weights were after each epoch."""

    seen: list[float] = field(default_factory=list)

    def __call__(self, epoch: int, module: nn.Module) -> None:
        self.seen.append(float(sum(value.detach().square().sum() for value in module.parameters())))

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: Any) -> None:
        self.seen = list(state["seen"])


@dataclass
class Trained:
    """A victim, and what was kept beside it."""

    victim: nn.Module
    norms: list[float]
    skills: list[float]


OPTIONS: dict[str, Any] = {
    "tasks": TASKS,
    "transform": jittered,
    "epochs": 4,
    "batch_size": 8,
    "learning_rate": 1e-2,
    "precision": torch.float32,
    "progress": False,
}


def victim(checkpoint: Any, dataset: Any = None, norms: Norms | None = None, **changes: Any) -> Trained:
    """A victim with everything that may have a state."""
    clean, net, _ = parts()
    norms, stopping = norms or Norms(), EarlyStopping(clean[:6])  # type: ignore[arg-type]  # a list is a data set
    settings = {**OPTIONS, "model": net, "weighting": Drifting(), "defense": stopping, "after_epoch": norms, **changes}
    made = evaluation.train_victim(clean if dataset is None else dataset, checkpoint=checkpoint, **settings)
    return Trained(made, norms.seen, stopping.skills)


def audit(checkpoint: Any, clean: Any = None, **changes: Any) -> evaluation.Report:
    """An audit of three victims."""
    own, net, _ = parts()
    clean = own if clean is None else clean
    # Each of several ranks makes it for itself.
    with apart():
        protected = baselines.random_noise(own, tasks=TASKS, seed=3)  # type: ignore[arg-type]
    settings = {**OPTIONS, "model": net, "single_task": [], "epochs": 2, **changes}
    settings.setdefault("protected", protected)
    return evaluation.audit(settings.pop("protected"), clean, own[::-1], checkpoint=checkpoint, **settings)


def kill(verb: str, path: Path, step: int) -> None:
    """Run a verb in another process, which kills itself in a step."""
    done = subprocess.run([sys.executable, __file__, verb, str(path), str(step)], capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


if __name__ == "__main__":
    chosen, where, step = sys.argv[1:]
    # Under its name a test knows this module, and its transform, too.
    fuse.at, fuse.act = int(step), lambda: os.kill(os.getpid(), signal.SIGKILL)
    {"victim": victim, "audit": audit}[chosen](where)
