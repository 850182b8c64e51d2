"""The training of a victim, step by step."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

import torch
from torch import Tensor, nn

from mtlue._checks import check_batch_size, check_count, check_image_size, check_number
from mtlue._data import Batch, Samples, Transform, augmented, checked_transform, random_crop_and_flip, shuffled_batches
from mtlue._fit import Schedule, paper_schedule
from mtlue._losses import Surrogate
from mtlue._runtime import BatchSize, Compute, Progress, Stream, descend
from mtlue._tasks import Task
from mtlue.defenses import Defense
from mtlue.evaluation._weighting import Uniform, Weighting

#: A module, the name of a backbone, or what makes a module for given tasks.
Model: TypeAlias = nn.Module | str | Callable[[dict[str, Task]], nn.Module]

logger = logging.getLogger("mtlue.evaluation")


@dataclass(frozen=True, kw_only=True)
class VictimPlan:
    """How a victim is trained; `mtlue.evaluation.train_victim` explains the settings.

    Raises:
        TypeError: one has the wrong type.
        ValueError: one is out of range.
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
            TypeError: one has the wrong type.
        """
        check_count("epochs", self.epochs, minimum=1)
        check_batch_size(self.batch_size)
        check_number("learning_rate", self.learning_rate, above=0.0)
        checked_transform(self.transform, argument="transform")
        if not callable(self.schedule):
            raise TypeError(f"schedule: expected a callable, got {self.schedule!r}")
        if not isinstance(self.weighting, Weighting):
            raise TypeError(f"weighting: expected one such as evaluation.UW(), got {self.weighting!r}")
        object.__setattr__(self, "image_size", check_image_size(self.image_size))

    def transform_for(self, samples: Samples) -> Transform | None:
        """The augmentation of a data set: by default a random crop and flip, unless label maps would have to move along."""
        return random_crop_and_flip if self.transform is None and not samples.has_maps else self.transform


class VictimTraining:
    """One training of a model that is already where it computes.

    Args:
        victim: Trained in place.
        samples: The data set.
        plan: The settings.
        compute: Where and how to compute.
        batch_size: Largest batch; halved when memory runs out.
    """

    def __init__(self, victim: Surrogate, samples: Samples, plan: VictimPlan, compute: Compute, batch_size: int) -> None:
        self.victim, self.samples, self.plan, self.compute = victim, samples, plan, compute
        self.transform = plan.transform_for(samples)
        self.batch_size = BatchSize(batch_size)
        plan.weighting.prepare(len(victim.tasks), compute.device)
        self.optimizer = torch.optim.Adam([*victim.module.parameters(), *plan.weighting.parameters()], lr=plan.learning_rate)

    def run(self, after_epoch: Callable[[int, nn.Module], object] | None) -> None:
        """Train until the last epoch, with each hook of the defence at its moment."""
        module, plan, compute, length = self.victim.module, self.plan, self.compute, len(self.samples)
        defense = plan.defense
        logger.info(
            "victim: %d samples, %d tasks, %s%s, %d epochs, batches of %d samples, on %s in %s",
            length, len(self.victim.tasks), plan.weighting, "" if type(defense) is Defense else f", {defense}",
            plan.epochs, self.batch_size.value, compute.device, compute.precision,
        )  # fmt: skip
        with compute.random_numbers(Stream.VICTIM):
            defense.prepare(self.samples.dataset, self.victim.tasks, seed=compute.seed)
        with Progress(compute.progress, stage="victim", total=plan.epochs, images=plan.epochs * length) as shown:
            for epoch in range(plan.epochs):
                with compute.random_numbers(Stream.VICTIM_EPOCH, epoch):
                    loss = self._run_epoch(epoch)
                    module.eval()
                    defense.after_epoch(self.victim, epoch)
                module.eval()
                if after_epoch is not None:
                    after_epoch(epoch, module)
                shown.step(length, {"epoch": epoch + 1, "victim_loss": loss})
                # Not for all to hear: an audit trains many victims, and would tell little else.
                logger.debug("victim: epoch %d of %d: loss %.4g", epoch + 1, plan.epochs, loss)
        module.eval()
        with compute.random_numbers(Stream.VICTIM, 1):
            defense.finish(self.victim)

    def _run_epoch(self, epoch: int) -> float:
        """One pass over the data; returns the mean loss.

        Raises:
            RuntimeError: the loss is no longer finite.
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
            losses += [loss for _, loss in self.batch_size.run(self._step, batch)]
            seen += len(batch)
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            # What has diverged answers one class for everything, which would pass for protection.
            raise RuntimeError(f"the victim's loss is {mean} after epoch {epoch + 1}: lower the learning rate")
        return mean

    def _step(self, batch: Batch) -> Tensor:
        """One step of the optimiser; returns the mean loss over the tasks."""
        module, plan = self.victim.module, self.plan
        # A single sample has no statistics of its own for batch normalisation.
        module.train(len(batch) > 1)
        with torch.no_grad():
            defended = Batch(plan.defense.images(batch.images), batch.targets)
            seen = augmented(self.transform, defended, self.victim.tasks, argument="transform")
        # Without the cache: a defence may first run the model without gradients, whose copies of the weights carry none.
        with self.compute.autocast(cache=False):
            losses = plan.defense.losses(self.victim, seen.images, seen.targets)
        descend(self.optimizer, losses, lambda each: plan.weighting.backward(each, module))
        return torch.stack([loss.detach() for loss in losses.values()]).mean()
