"""The training of a victim, step by step."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from mtlue._checks import check_batch_size, check_count, check_image_size, check_number
from mtlue._data import Batch, Samples, Transform, augmented, checked_transform, random_crop_and_flip, shuffled_batches
from mtlue._fit import (
    Checkpoint,
    Schedule,
    check_schedule,
    count_in,
    described_schedule,
    load_optimizer,
    paper_schedule,
)
from mtlue._losses import Surrogate, check_own_state, has_state, restore_state, state_of
from mtlue._runtime import BatchSize, Compute, Progress, Stream, descend, described, described_by_attributes
from mtlue._tasks import Task
from mtlue.defenses import Defense
from mtlue.evaluation._victim_check import defended_images, defended_losses, weighted_backward
from mtlue.evaluation._weighting import Uniform, Weighting

#: Called after an epoch with its number and the model.
AfterEpoch: TypeAlias = Callable[[int, nn.Module], object]
#: A module, the name of a backbone, or a function that makes a module for given tasks.
Model: TypeAlias = nn.Module | str | Callable[[dict[str, Task]], nn.Module]

# A loss that is so many times that of the first step, or of guessing, is that of a model that has diverged.
_DIVERGED = 1000.0

logger = logging.getLogger("mtlue.evaluation")


@dataclass(frozen=True, kw_only=True)
class VictimPlan:
    """The settings of a victim's training; `mtlue.evaluation.train_victim` explains them.

    Raises:
        TypeError: a setting has the wrong type.
        ValueError: a setting is out of range.
    """

    model: Model | None = None
    weighting: Weighting = field(default_factory=Uniform)
    defense: Defense = field(default_factory=Defense)
    transform: Transform | None = None
    epochs: int = 60
    batch_size: int | None = None
    learning_rate: float = 1e-3
    schedule: Schedule = paper_schedule
    image_size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            TypeError: a value has the wrong type.
        """
        check_count("epochs", self.epochs, minimum=1)
        check_batch_size(self.batch_size)
        check_number("learning_rate", self.learning_rate, above=0.0)
        checked_transform(self.transform, argument="transform")
        check_schedule(self.schedule)
        if not isinstance(self.weighting, Weighting):
            raise TypeError(f"weighting: expected one such as evaluation.UW(), got {self.weighting!r}")
        object.__setattr__(self, "image_size", check_image_size(self.image_size))

    def transform_for(self, samples: Samples) -> Transform | None:
        """Return the augmentation of a data set.

        The default is a random crop and flip, or nothing if label maps would have to move along.
        """
        return random_crop_and_flip if self.transform is None and not samples.has_maps else self.transform

    def settings(self) -> dict[str, Any]:
        """Return what determines a victim apart from its model, in a form that JSON can hold."""
        changed = {
            "weighting": known_by(self.weighting),
            "defense": known_by(self.defense),
            "transform": None if self.transform is None else described(self.transform),
            "schedule": described_schedule(self.schedule),
        }
        return {name: value for name, value in {**vars(self), **changed}.items() if name != "model"}


def known_by(brought: Weighting | Defense) -> str:
    """Return a text that is equal for objects that do the same."""
    # The repr that all classes inherit does not say what the object is made with.
    inherited = type(brought).__repr__ in (Weighting.__repr__, Defense.__repr__)
    return described_by_attributes(brought) if inherited else described(brought)


class VictimTraining:
    """One training of a model that is already on its device.

    Args:
        victim: The model, which is trained in place.
        samples: The data set.
        plan: The settings.
        compute: Where and how to compute.
        batch_size: The largest batch. It is halved when memory runs out.
    """

    def __init__(self, victim: Surrogate, samples: Samples, plan: VictimPlan, compute: Compute, batch_size: int) -> None:
        self.victim, self.samples, self.plan, self.compute = victim, samples, plan, compute
        self.transform = plan.transform_for(samples)
        self.batch_size = BatchSize(batch_size)
        self.first_loss: float | None = None
        plan.weighting.prepare(len(victim.tasks), compute.device)
        self.optimizer = torch.optim.Adam([*victim.module.parameters(), *plan.weighting.parameters()], lr=plan.learning_rate)

    def run(self, after_epoch: AfterEpoch | None, checkpoint: Checkpoint) -> None:
        """Train until the last epoch, and call the hooks of the defence.

        Raises:
            TypeError: a checkpoint was asked for, and the state of an argument cannot be kept.
        """
        module, plan, compute, length = self.victim.module, self.plan, self.compute, len(self.samples)
        defense = plan.defense
        logger.info(
            "victim: %d samples, %d tasks, %s%s, %d epochs, batches of %d samples, on %s in %s",
            length, len(self.victim.tasks), plan.weighting, "" if type(defense) is Defense else f", {defense}",
            plan.epochs, self.batch_size.value, compute.device, compute.precision,
        )  # fmt: skip
        with compute.random_numbers(Stream.VICTIM):
            defense.prepare(self.samples.dataset, self.victim.tasks, seed=compute.seed)
        done = self._take_up(checkpoint, after_epoch)
        with Progress(compute.progress, stage="victim", total=plan.epochs, images=plan.epochs * length) as shown:
            shown.skip(done, done * length)
            for epoch in range(done, plan.epochs):
                with compute.random_numbers(Stream.VICTIM_EPOCH, epoch):
                    loss = self._run_epoch(epoch)
                    module.eval()
                    defense.after_epoch(self.victim, epoch)
                module.eval()
                if after_epoch is not None:
                    after_epoch(epoch, module)
                if checkpoint.path is not None:
                    checkpoint.save(self._state(epoch + 1, after_epoch))
                shown.step(length, {"epoch": epoch + 1, "victim_loss": loss})
                # Logged quietly: an audit trains many victims, and would log little else.
                logger.debug("victim: epoch %d of %d: loss %.4g", epoch + 1, plan.epochs, loss)
        module.eval()
        with compute.random_numbers(Stream.VICTIM, 1):
            defense.finish(self.victim)

    def _take_up(self, checkpoint: Checkpoint, after_epoch: AfterEpoch | None) -> int:
        """Resume from a checkpoint. Returns the number of finished epochs."""
        if checkpoint.path is None:
            return 0
        for argument, brought in self._brought(after_epoch).items():
            check_own_state(brought, argument)
        state = checkpoint.load()
        if state is None:
            if has_state(after_epoch):
                # A repeated call may pass an object that already saw some of the interrupted first epoch.
                checkpoint.save(self._state(0, after_epoch))
            return 0
        with checkpoint.taking_up():
            done = count_in(state, "epoch")
            self.victim.module.load_state_dict(state["model"])
            load_optimizer(self.optimizer, state["optimizer"])
            with torch.no_grad():
                for parameter, kept in zip(self.plan.weighting.parameters(), state["weights"], strict=True):
                    parameter.copy_(kept)
            self.batch_size.value = count_in(state, "batch_size", minimum=1)
            for argument, brought in self._brought(after_epoch).items():
                restore_state(brought, state, argument)
        logger.info("victim: going on after epoch %d of %d, from %s", done, self.plan.epochs, checkpoint.path)
        return done

    def _state(self, done: int, after_epoch: AfterEpoch | None) -> dict[str, Any]:
        state = {
            "epoch": done,
            "model": self.victim.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "weights": list(self.plan.weighting.parameters()),
            "batch_size": self.batch_size.value,
        }
        for argument, brought in self._brought(after_epoch).items():
            state |= state_of(brought, argument)
        return state

    def _brought(self, after_epoch: AfterEpoch | None) -> dict[str, object]:
        """Return the arguments that may have a state of their own, by name."""
        return {"weighting": self.plan.weighting, "defense": self.plan.defense, "after_epoch": after_epoch}

    def _run_epoch(self, epoch: int) -> float:
        """Run one epoch. Returns the mean loss.

        Raises:
            RuntimeError: the model has diverged.
        """
        plan, compute = self.plan, self.compute
        if hasattr(self.victim.module, "set_epoch"):
            self.victim.module.set_epoch(epoch, plan.epochs)  # type: ignore[operator]  # some architectures have it
        seed = compute.seed_of(Stream.VICTIM_EPOCH, epoch)
        losses: list[Tensor] = []
        seen = 0
        for batch in shuffled_batches(self.samples, batch_size=self.batch_size.value, compute=compute, seed=seed):
            done = (epoch + seen / len(self.samples)) / plan.epochs
            for group in self.optimizer.param_groups:
                group["lr"] = plan.learning_rate * plan.schedule(done)
            for _, loss in self.batch_size.run(self._step, batch):
                losses.append(loss)
                # More and more rarely: each look waits for the device.
                if len(losses).bit_count() == 1:
                    self._check_loss(float(loss), epoch)
            seen += len(batch)
        mean = float(torch.stack(losses).mean())
        self._check_loss(mean, epoch)
        return mean

    def _check_loss(self, loss: float, epoch: int) -> None:
        """Refuse to go on with a model that has diverged: it answers one class for everything, which would pass for protection.

        Raises:
            RuntimeError: the loss is not finite, or far from what it was at first.
        """
        first = loss if self.first_loss is None else self.first_loss
        self.first_loss = first
        if math.isfinite(loss) and loss <= _DIVERGED * max(first, 1.0):
            return
        said = f"the victim's loss is {loss:.4g} in epoch {epoch + 1}"
        if not math.isfinite(first):
            raise RuntimeError(f"{said}, in its first step: check that defence, transform and model return finite values")
        raise RuntimeError(f"{said}, and was {first:.4g} in the first step: lower the learning rate")

    def _step(self, batch: Batch) -> Tensor:
        """Run one step of the optimiser. Returns the mean loss over the tasks."""
        module, plan = self.victim.module, self.plan
        # Batch normalisation needs more than a single sample.
        module.train(len(batch) > 1)
        with torch.no_grad():
            defended = Batch(defended_images(plan.defense, batch.images), batch.targets)
            seen = augmented(self.transform, defended, self.victim.tasks, argument="transform")
        # Without the cache: a defence may first run the model without gradients, and autocast would reuse those copies of the
        # weights.
        with self.compute.autocast(cache=False):
            losses = defended_losses(plan.defense, self.victim, seen.images, seen.targets)
        descend(self.optimizer, losses, lambda each: weighted_backward(plan.weighting, each, self.victim))
        return torch.stack([loss.detach() for loss in losses.values()]).mean()
