"""The victims of an audit, and what each of them learns."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn
from torch.utils.data import Dataset

from mtlue._data import Samples
from mtlue._losses import Surrogate
from mtlue._runtime import Compute
from mtlue._tasks import Task
from mtlue.evaluation._audited import Audited
from mtlue.evaluation._best_epoch import best_epoch
from mtlue.evaluation._evaluate import measure
from mtlue.evaluation._measurement import CLEAN, MULTI, NO_DEFENSE, NOISE, PROTECTED, SINGLE, Measurement
from mtlue.evaluation._metrics import headlines_of
from mtlue.evaluation._victim import train_on
from mtlue.evaluation._victim_training import VictimPlan
from mtlue.evaluation._weighting import Uniform


@dataclass(frozen=True)
class Training:
    """The training of one victim in an audit.

    Attributes:
        data: What it is trained on.
        victim: The kind of victim.
        names: The tasks that it learns.
        defense: Name of its defence.
        seed: Seed of the training.
    """

    data: str
    victim: str
    names: tuple[str, ...]
    defense: str
    seed: int

    def __str__(self) -> str:
        """Name the training for progress bars and logs."""
        alone = "" if self.victim == MULTI else f" of {self.names[0]}"
        defense = "" if self.defense == NO_DEFENSE else f" against {self.defense}"
        return f"{self.victim}{alone} on {self.data}{defense}, seed {self.seed}"


def plan_trainings(
    tasks: Collection[str], alone: Sequence[str], defenses: Iterable[str], seeds: Sequence[int]
) -> list[Training]:
    """List all victims of an audit: on each set, for all tasks together and alone, and with each defence."""
    trainings = []
    every = (MULTI, tuple(tasks))
    for seed in seeds:
        for victim, names in (every, *((SINGLE, (name,)) for name in alone)):
            trainings += [Training(data, victim, names, NO_DEFENSE, seed) for data in (CLEAN, NOISE, PROTECTED)]
        trainings += [Training(data, *every, defense, seed) for defense in defenses for data in (CLEAN, PROTECTED)]
    return trainings


def run_training(
    training: Training,
    dataset: Dataset[Any],
    audited: Audited,
    plan: VictimPlan,
    compute: Compute,
    chance: Mapping[str, float],
    checkpoint: str | os.PathLike[str] | None = None,
) -> list[Measurement]:
    """Train a victim, and measure it on the test set after every epoch.

    Args:
        training: Which victim to train.
        dataset: What it is trained on.
        audited: The sets of the audit.
        plan: The settings of the training, with its defence.
        compute: Where and how to compute, with the seed.
        chance: The headline metric of each task for the best answer that ignores the image.
        checkpoint: As in `train_victim`.
    """
    samples, test = audited.samples(dataset, training.names), audited.samples(audited.test, training.names)
    # A batch that is large enough to train on is small for measuring, unless the answers are maps.
    at_once = plan.batch_size if test.has_maps else None
    if training.victim == SINGLE:
        answering = plan.model if not isinstance(plan.model, nn.Module) else _Answering(plan.model, audited.tasks)
        plan = replace(plan, model=answering, weighting=Uniform())
    look = _Look(test, compute, at_once)
    silent = replace(compute, progress=False)
    victim = train_on(samples, audited.image_shape, plan, silent, look, checkpoint=checkpoint)
    # A defence may have changed the model after its last epoch.
    found = look.found
    best = best_epoch(found, test.tasks, chance)
    look(plan.epochs, victim)
    return [
        Measurement(
            training.data, training.victim, training.defense, name, training.seed, found[-1][name], found[best][name], best + 1
        )
        for name in test.tasks
    ]


def reached(found: Sequence[Measurement], tasks: Mapping[str, Task]) -> str:
    """Format the headline metric of each task that has one, on one line."""
    headlines = headlines_of(tasks)
    counted = [(each, headlines[each.task]) for each in found if each.task in headlines]
    return ", ".join(f"{each.task} {metric.name} {each.last[metric.metric]:.4g}" for each, metric in counted)


class _Look:
    """Measure a victim on the test set after each epoch, in batches of the given size."""

    def __init__(self, test: Samples, compute: Compute, at_once: int | None) -> None:
        self._test, self._compute, self._at_once = test, compute, at_once
        self.found: list[dict[str, dict[str, float]]] = []

    def __call__(self, epoch: int, module: nn.Module) -> None:
        victim = Surrogate(module, self._test.tasks, argument="model")
        self.found.append(measure(victim, self._test, self._compute, batch_size=self._at_once))

    def state_dict(self) -> dict[str, Any]:
        return {"found": self.found}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.found = state["found"]


class _Answering(nn.Module):
    """A model for several tasks that answers by name, so that some of its answers can be ignored."""

    def __init__(self, module: nn.Module, tasks: Mapping[str, Task]) -> None:
        super().__init__()
        self.module = module
        self._tasks = tasks

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return Surrogate(self.module, self._tasks, argument="model")(images)

    def set_epoch(self, epoch: int, epochs: int) -> None:
        if hasattr(self.module, "set_epoch"):
            self.module.set_epoch(epoch, epochs)  # type: ignore[operator]  # some architectures have it
