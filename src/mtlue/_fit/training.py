"""Algorithm 1: training the generator, and with EM the surrogate in turn."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from mtlue._data import Samples, Transform, augmented, ordered_batches, shuffled_batches
from mtlue._data.batches import Batch
from mtlue._fit.checkpoint import Checkpoint
from mtlue._fit.history import Epoch, History, epoch_summary
from mtlue._fit.schedule import Schedule, epoch_rates
from mtlue._fit.surrogate_check import all_labelled
from mtlue._fit.surrogate_steps import part_of, surrogate_accuracy, train_surrogate
from mtlue._generator import UEGenerator
from mtlue._losses import BaseUELoss, Surrogate
from mtlue._losses.base import NO_GRADIENT, loss_value
from mtlue._regularizers import embedding_regularizers
from mtlue._runtime.device import autocast, derived_seed, random_numbers
from mtlue._runtime.identity import described
from mtlue._runtime.memory import BatchSize
from mtlue._runtime.progress import Progress, ProgressOption
from mtlue._tasks import CheckedTargets

# The whole set is looked at only when a sample of it says that the surrogate may have reached the goal.
_ACCURACY_SAMPLE = 1000
_GENERATOR, _SURROGATE, _SAMPLE = 0, 1, 2

logger = logging.getLogger("mtlue.fit")


@dataclass(frozen=True)
class Plan:
    """The settings of a run; `mtlue.fit` explains them."""

    epochs: int
    learning_rate: float
    schedule: Schedule
    lambda_intra: float
    lambda_inter: float
    surrogate_steps: int
    stop_accuracy: float
    augment: Transform | None
    device: torch.device
    precision: torch.dtype
    num_workers: int
    seed: int


class GeneratorTraining:
    """One run of Algorithm 1 on models that are already where they compute.

    Args:
        generator: Trained in place.
        surrogate: Frozen, or trained in place where the loss says so.
        loss: The base loss.
        samples: The data set.
        size: Size to bring images to, or None where all have one size.
        plan: The settings.
        batch_size: Largest batch; halved when memory runs out.
    """

    def __init__(
        self,
        generator: UEGenerator,
        surrogate: Surrogate,
        loss: BaseUELoss,
        samples: Samples,
        *,
        size: tuple[int, int] | None,
        plan: Plan,
        batch_size: BatchSize,
    ) -> None:
        self.generator, self.surrogate, self.loss, self.samples = generator, surrogate, loss, samples
        self.size, self.plan, self.batch_size = size, plan, batch_size
        self.optimizer = torch.optim.Adam(generator.parameters(), lr=plan.learning_rate)
        self.surrogate_optimizer: torch.optim.Optimizer | None = None
        if loss.trains_surrogate:
            trainable = [parameter for parameter in surrogate.module.parameters() if parameter.requires_grad]
            self.surrogate_optimizer = torch.optim.Adam(trainable, lr=plan.learning_rate)
        self.rates = [plan.learning_rate * share for share in epoch_rates(plan.schedule, plan.epochs)]
        self.history = History()
        self._gradient_seen = False

    def run(self, checkpoint: Checkpoint, progress: ProgressOption) -> History:
        """Train until the last epoch, or until EM's surrogate has learned the perturbations.

        Raises:
            RuntimeError: the loss is no longer finite.
        """
        plan, length = self.plan, len(self.samples)
        logger.info(
            "fit: %d samples, %d tasks, %s, %d epochs, batches of %d samples, on %s in %s",
            length, len(self.generator.tasks), described(self.loss), plan.epochs, self.batch_size.value, plan.device,
            plan.precision,
        )  # fmt: skip
        state = checkpoint.load()
        if state is not None:
            self._restore(state)
            logger.info("fit: going on after epoch %d of %d, from %s", len(self.history), plan.epochs, checkpoint.path)
        steps = -(-length // self.batch_size.value)
        with Progress(progress, stage="fit", total=plan.epochs * steps, images=plan.epochs * length) as shown:
            shown.skip(len(self.history) * steps, len(self.history) * length)
            while len(self.history) < plan.epochs and not self.history.stopped_early:
                self._run_epoch(len(self.history), shown)
                checkpoint.save(self._state())
                logger.info("fit: epoch %d of %d: %s", len(self.history), plan.epochs, epoch_summary(self.history[-1]))
        if self.history.stopped_early:
            logger.info(
                "fit: ended early, the surrogate's accuracy on perturbed images is %.4g, at least %.4g",
                self.history[-1].surrogate_accuracy,
                plan.stop_accuracy,
            )
        self.generator.eval()
        self.generator.trained = True
        return self.history

    def _run_epoch(self, epoch: int, shown: Progress) -> None:
        started = time.monotonic()
        plan = self.plan
        rate = self.rates[epoch]
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with random_numbers(derived_seed(plan.seed, _GENERATOR, epoch), plan.device):
            means = self._train_generator(epoch, shown)
        accuracy = None
        if self.surrogate_optimizer is not None:
            with random_numbers(derived_seed(plan.seed, _SURROGATE, epoch), plan.device):
                accuracy, reached = self._train_surrogate(epoch)
            self.history.stopped_early = reached
        total, base, intra, inter = means
        self.history.append(Epoch(rate, total, base, intra, inter, accuracy, time.monotonic() - started))

    def _train_generator(self, epoch: int, shown: Progress) -> list[float]:
        """Take one pass over the data; return the means of total loss, base loss, intra-ER and inter-ER.

        Raises:
            RuntimeError: the loss is no longer finite.
            ValueError: no gradient of it reaches the images.
        """
        self.generator.train()
        self.surrogate.module.eval()
        wants_gradient = [parameter for parameter in self.surrogate.module.parameters() if parameter.requires_grad]
        # The generator's step needs no gradient at the surrogate's parameters, EM's included.
        for parameter in wants_gradient:
            parameter.requires_grad_(False)
        sums = torch.zeros(4, device=self.plan.device)
        try:
            for images, targets in self._batches(epoch):

                def step(part: slice, images: Tensor = images, targets: CheckedTargets = targets) -> Tensor:
                    return self._step(images[part], part_of(targets, part))

                def count(part: slice, figures: Tensor) -> None:
                    sums.add_(figures * (part.stop - part.start))
                    names = ("loss", "base_loss", "intra_er", "inter_er")
                    shown.step(
                        part.stop - part.start,
                        lambda: {
                            "epoch": epoch + 1,
                            **dict(zip(names, figures.tolist(), strict=True)),
                            **self._last_accuracy(),
                        },
                    )

                self.batch_size.run(len(images), step, count)
        finally:
            for parameter in wants_gradient:
                parameter.requires_grad_(True)
        if not self._gradient_seen:
            # The regularisers alone would train on without a word.
            raise ValueError(NO_GRADIENT)
        means: list[float] = (sums / len(self.samples)).tolist()
        if not torch.isfinite(sums).all():
            raise RuntimeError(f"fit: the loss is no longer finite in epoch {epoch + 1}; try a smaller learning_rate")
        return means

    def _step(self, images: Tensor, targets: CheckedTargets) -> Tensor:
        plan = self.plan
        with autocast(plan.device, plan.precision):
            perturbed = self.generator.perturb(images, targets)
            if not self._gradient_seen:
                if not perturbed.requires_grad:
                    raise ValueError("generator: expected parameters to train, got none that take a gradient here")
                perturbed.register_hook(self._note_gradient)
            # The generator sees the labels where they are; only the surrogate sees them moved.
            seen, labels = augmented(plan.augment, perturbed, targets, self.surrogate.tasks)
            base = loss_value(self.loss, self.surrogate, seen, labels).float()
        intra, inter = (value.to(plan.device) for value in embedding_regularizers(self.generator.embeddings))
        total = base + plan.lambda_intra * intra + plan.lambda_inter * inter
        self.optimizer.zero_grad(set_to_none=True)
        if total.requires_grad:
            torch.autograd.backward(total)
        # A loss may be a constant where labels of a batch are missing.
        if not self._gradient_seen and (base.requires_grad or all_labelled(targets, self.surrogate.tasks)):
            raise ValueError(NO_GRADIENT)
        if total.requires_grad:
            self.optimizer.step()
        return torch.stack([total, base, intra, inter]).detach()

    def _note_gradient(self, gradient: Tensor) -> None:
        self._gradient_seen = True

    @torch.no_grad()
    def _frozen_view(self, images: Tensor, targets: CheckedTargets) -> Batch:
        return augmented(self.plan.augment, self.generator.perturb(images, targets), targets, self.surrogate.tasks)

    @torch.no_grad()
    def _plain_view(self, images: Tensor, targets: CheckedTargets) -> Batch:
        return self.generator.perturb(images, targets), targets

    def _train_surrogate(self, epoch: int) -> tuple[float | None, bool]:
        """EM's turn: some steps on freshly perturbed batches, then the stop rule. Returns accuracy, and whether to stop."""
        plan, length = self.plan, len(self.samples)
        if self.surrogate_optimizer is None:
            return None, False
        self.generator.eval()
        random = torch.Generator().manual_seed(derived_seed(plan.seed, _SURROGATE, epoch))
        wanted = plan.surrogate_steps * self.batch_size.value
        order: list[int] = []
        while len(order) < wanted:
            order += torch.randperm(length, generator=random).tolist()
        if wanted:
            train_surrogate(
                self.surrogate,
                self.surrogate_optimizer,
                self._ordered(order[:wanted]),
                self._frozen_view,
                batch_size=self.batch_size,
                precision=plan.precision,
            )
        random.manual_seed(derived_seed(plan.seed, _SAMPLE, epoch))
        sample = torch.randperm(length, generator=random)[:_ACCURACY_SAMPLE].tolist()
        accuracy = self._measure(sample)
        if accuracy is not None and accuracy >= plan.stop_accuracy and len(sample) < length:
            accuracy = self._measure(range(length))
        return accuracy, accuracy is not None and accuracy >= plan.stop_accuracy

    def _measure(self, order: list[int] | range) -> float | None:
        return surrogate_accuracy(
            self.surrogate,
            self._ordered(order),
            self._plain_view,
            batch_size=self.batch_size,
            precision=self.plan.precision,
        )

    def _batches(self, epoch: int) -> Iterator[Batch]:
        return shuffled_batches(
            self.samples,
            batch_size=self.batch_size.value,
            seed=derived_seed(self.plan.seed, _GENERATOR, epoch),
            size=self.size,
            device=self.plan.device,
            num_workers=self.plan.num_workers,
        )

    def _ordered(self, order: list[int] | range) -> Iterator[Batch]:
        return ordered_batches(
            self.samples,
            order,
            batch_size=self.batch_size.value,
            size=self.size,
            device=self.plan.device,
            num_workers=self.plan.num_workers,
        )

    def _last_accuracy(self) -> dict[str, float]:
        accuracy = self.history[-1].surrogate_accuracy if len(self.history) else None
        return {} if accuracy is None else {"surrogate_accuracy": accuracy}

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = {
            "generator": self.generator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "batch_size": self.batch_size.value,
            "history": [asdict(epoch) for epoch in self.history],
            "stopped_early": self.history.stopped_early,
        }
        if self.surrogate_optimizer is not None:
            state["surrogate"] = self.surrogate.module.state_dict()
            state["surrogate_optimizer"] = self.surrogate_optimizer.state_dict()
        return state

    def _restore(self, state: dict[str, Any]) -> None:
        self.generator.load_state_dict(state["generator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.batch_size.value = state["batch_size"]
        self.history = History([Epoch(**epoch) for epoch in state["history"]], stopped_early=state["stopped_early"])
        if self.surrogate_optimizer is not None:
            self.surrogate.module.load_state_dict(state["surrogate"])
            self.surrogate_optimizer.load_state_dict(state["surrogate_optimizer"])
