"""The training of a victim, step by step."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from mtlue._data import Samples, Transform, augmented, shuffled_batches
from mtlue._fit.schedule import Schedule
from mtlue._fit.surrogate_steps import part_of
from mtlue._losses import Surrogate
from mtlue._runtime.device import autocast, derived_seed, random_numbers
from mtlue._runtime.memory import BatchSize
from mtlue._runtime.progress import Progress, ProgressOption
from mtlue._tasks import CheckedTargets
from mtlue.defenses._defense import Defense
from mtlue.evaluation._weighting import Weighting

logger = logging.getLogger("mtlue.evaluation")

INITIAL, _EPOCH = 8, 9


class VictimTraining:
    """One training of a model that is already where it computes.

    Args:
        victim: Trained in place.
        samples: The data set.
        defense: What it does against a protection.
        weighting: How the losses of the tasks become one step.
        transform: Augmentation of batches, of images alone or with their targets, or None.
        schedule: Of the learning rate.
        epochs: Passes over the data.
        batch_size: Largest batch; halved when memory runs out.
        learning_rate: Adam's.
        image_size: Size to bring images to, or None where all have one size.
        device: Where the victim is.
        precision: float32 or bfloat16.
        num_workers: Processes that read the data set.
        seed: Decides order, augmentation and what the defence draws.
    """

    def __init__(
        self,
        victim: Surrogate,
        samples: Samples,
        *,
        defense: Defense,
        weighting: Weighting,
        transform: Transform | None,
        schedule: Schedule,
        epochs: int,
        batch_size: int,
        learning_rate: float,
        image_size: tuple[int, int] | None,
        device: torch.device,
        precision: torch.dtype,
        num_workers: int,
        seed: int,
    ) -> None:
        self.victim, self.samples, self.defense, self.weighting = victim, samples, defense, weighting
        self.transform, self.schedule, self.epochs, self.learning_rate = transform, schedule, epochs, learning_rate
        self.image_size, self.precision, self.num_workers, self.seed = image_size, precision, num_workers, seed
        self.batch_size = BatchSize(batch_size)
        self.device = device
        weighting.prepare(len(victim.tasks), self.device)
        self.optimizer = torch.optim.Adam([*victim.module.parameters(), *weighting.parameters()], lr=learning_rate)

    def run(self, after_epoch: Callable[[int, nn.Module], object] | None, progress: ProgressOption) -> None:
        """Train until the last epoch, with each hook of the defence at its moment."""
        module, length = self.victim.module, len(self.samples)
        logger.info(
            "victim: %d samples, %d tasks, %s%s, %d epochs, batches of %d samples, on %s in %s",
            length, len(self.victim.tasks), self.weighting, "" if type(self.defense) is Defense else f", {self.defense}",
            self.epochs, self.batch_size.value, self.device, self.precision,
        )  # fmt: skip
        with random_numbers(derived_seed(self.seed, INITIAL), self.device):
            self.defense.prepare(self.samples.dataset, self.victim.tasks, seed=self.seed)
        with Progress(progress, stage="victim", total=self.epochs, images=self.epochs * length) as shown:
            for epoch in range(self.epochs):
                with random_numbers(derived_seed(self.seed, _EPOCH, epoch), self.device):
                    loss = self._run_epoch(epoch)
                    module.eval()
                    self.defense.after_epoch(self.victim, epoch)
                module.eval()
                if after_epoch is not None:
                    after_epoch(epoch, module)
                figures = {"epoch": epoch + 1, "victim_loss": loss}
                shown.step(length, lambda figures=figures: figures)  # type: ignore[misc]  # mypy types no default of a lambda
                # Not for all to hear: an audit trains many victims, and would tell little else.
                logger.debug("victim: epoch %d of %d: loss %.4g", epoch + 1, self.epochs, loss)
        module.eval()
        with random_numbers(derived_seed(self.seed, INITIAL, 1), self.device):
            self.defense.finish(self.victim)

    def _run_epoch(self, epoch: int) -> float:
        """One pass over the data; returns the mean loss.

        Raises:
            RuntimeError: the loss is no longer finite.
        """
        if hasattr(self.victim.module, "set_epoch"):
            self.victim.module.set_epoch(epoch, self.epochs)  # type: ignore[operator]  # some architectures have it
        batches = shuffled_batches(
            self.samples,
            batch_size=self.batch_size.value,
            seed=derived_seed(self.seed, _EPOCH, epoch),
            size=self.image_size,
            device=self.device,
            num_workers=self.num_workers,
        )
        losses: list[Tensor] = []
        seen = 0
        for images, targets in batches:
            done = (epoch + seen / len(self.samples)) / self.epochs
            for group in self.optimizer.param_groups:
                group["lr"] = self.learning_rate * self.schedule(done)

            def step(part: slice, images: Tensor = images, targets: CheckedTargets = targets) -> Tensor:
                return self._step(images[part], part_of(targets, part))

            self.batch_size.run(len(images), step, lambda _, loss: losses.append(loss))
            seen += len(images)
        mean = float(torch.stack(losses).mean())
        if not math.isfinite(mean):
            # What has diverged answers one class for everything, which would pass for protection.
            raise RuntimeError(f"the victim's loss is {mean} after epoch {epoch + 1}: lower the learning rate")
        return mean

    def _step(self, images: Tensor, targets: CheckedTargets) -> Tensor:
        """One step of the optimiser; returns the mean loss over the tasks."""
        module = self.victim.module
        # A single sample has no statistics of its own for batch normalisation.
        module.train(len(images) > 1)
        with torch.no_grad():
            images, targets = augmented(
                self.transform, self.defense.images(images), targets, self.victim.tasks, argument="transform"
            )
        # Without the cache: a defence may first run the model without gradients, whose copies of the weights carry none.
        with autocast(images.device, self.precision, cache_enabled=False):
            losses = self.defense.losses(self.victim, images, targets)
        self.optimizer.zero_grad(set_to_none=True)
        self.weighting.backward(losses, module)
        self.optimizer.step()
        return torch.stack([loss.detach() for loss in losses.values()]).mean()
