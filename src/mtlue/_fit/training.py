"""Algorithm 1: training the generator, and with EM the surrogate in turn."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from mtlue._data import Batch, Samples, augmented, epochs_of, ordered_batches
from mtlue._fit.checkpoint import Checkpoint, count_in, load_optimizer
from mtlue._fit.history import Epoch, History, epoch_summary
from mtlue._fit.optimization import perturbed_loss
from mtlue._fit.plan import FitPlan
from mtlue._fit.surrogate_training import SurrogateTraining, warn_if_it_knew
from mtlue._generator import UEGenerator
from mtlue._losses import NO_GRADIENT, BaseUELoss, Surrogate, frozen, has_state, image_gradient, restore_state, state_of
from mtlue._regularizers import embedding_regularizers
from mtlue._runtime import (
    BatchSize,
    Compute,
    Progress,
    Stream,
    current_job,
    descend,
    described,
    from_rank,
    held,
    joint_mean,
    on_all_ranks,
)

# The whole set is measured only if a sample suggests that the surrogate has reached the goal.
_ACCURACY_SAMPLE = 1000
# Figures that are averaged over an epoch, and shown after each step.
_FIGURES = ("loss", "base_loss", "intra_er", "inter_er")

logger = logging.getLogger("mtlue.fit")


class GeneratorTraining:
    """One run of Algorithm 1 on models that are already on their device.

    Args:
        generator: The generator, which is trained in place.
        surrogate: The surrogate. It is frozen, or trained in place if the loss says so.
        loss: The base loss.
        samples: The data set.
        plan: The settings.
        compute: Where and how to compute.
        batch_size: Largest batch. It is halved when memory runs out.
    """

    def __init__(
        self,
        generator: UEGenerator,
        surrogate: Surrogate,
        loss: BaseUELoss,
        samples: Samples,
        plan: FitPlan,
        compute: Compute,
        batch_size: int,
    ) -> None:
        self.generator, self.surrogate, self.loss, self.samples = generator, surrogate, loss, samples
        self.plan, self.compute, self.batch_size = plan, compute, BatchSize(batch_size, adopt=self._adopt)
        self.optimizer = torch.optim.Adam(generator.parameters(), lr=plan.learning_rate)
        self.learner: SurrogateTraining | None = None
        if loss.trains_surrogate:
            self.learner = SurrogateTraining(
                surrogate, learning_rate=plan.learning_rate, batch_size=self.batch_size, compute=compute, loss=loss
            )
        turn = 0 if self.learner is None else plan.surrogate_steps * batch_size
        self.epochs = epochs_of(samples, compute, steps=plan.steps_per_epoch, batch_size=batch_size, turn=turn)
        self.history = History()
        self._gradient_seen = False

    def run(self, checkpoint: Checkpoint) -> History:
        """Train until the last epoch, or until EM's surrogate has learned the perturbations.

        Raises:
            RuntimeError: the loss is no longer finite.
        """
        plan, length = self.plan, self.epochs.length
        logger.info(
            "fit: %d samples, %d tasks, %s, %d epochs, batches of %d samples, on %s in %s",
            length, len(self.generator.tasks), described(self.loss), plan.epochs, self.batch_size.value, self.compute.device,
            self.compute.precision,
        )  # fmt: skip
        state = checkpoint.load()
        if state is not None:
            with checkpoint.taking_up():
                self._restore(state)
            logger.info("fit: going on after epoch %d of %d, from %s", len(self.history), plan.epochs, checkpoint.path)
        elif has_state(self.loss):
            # A call that resumes an interrupted first epoch may bring a loss that already saw part of it.
            checkpoint.save(self._state())
        steps = -(-length // self.batch_size.value)
        with Progress(self.compute.progress, stage="fit", total=plan.epochs * steps, images=plan.epochs * length) as shown:
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
            self._warn_of_a_surrogate_that_knew()
        if current_job() is not None:
            # Batches with fewer samples than ranks are computed on each of them, where the last bits may differ.
            self._adopt(0)
        self.generator.eval()
        self.generator.trained = True
        return self.history

    def _run_epoch(self, epoch: int, shown: Progress) -> None:
        started = time.monotonic()
        rate = self.plan.rate(epoch / self.plan.epochs)
        with self.compute.random_numbers(Stream.GENERATOR, epoch):
            means = self._train_generator(epoch, shown)
        accuracy = None
        if self.learner is not None:
            with self.compute.random_numbers(Stream.SURROGATE, epoch):
                accuracy = self._train_surrogate(self.learner, epoch)
            self.history.stopped_early = accuracy is not None and accuracy >= self.plan.stop_accuracy
        total, base, intra, inter = means
        self.history.append(Epoch(rate, total, base, intra, inter, accuracy, time.monotonic() - started))

    def _train_generator(self, epoch: int, shown: Progress) -> list[float]:
        """Run one epoch. Returns the means of total loss, base loss, intra-ER and inter-ER.

        Raises:
            RuntimeError: the loss is no longer finite.
            ValueError: no gradient of the loss reaches the images.
        """
        self.surrogate.module.eval()
        sums = torch.zeros(len(_FIGURES), device=self.compute.device)
        batches = self.epochs.batches(epoch, batch_size=self.batch_size.value)
        # The generator's step needs no gradient for the surrogate's parameters, not even with EM.
        with frozen(self.surrogate.module):
            for batch in self.plan.paced(batches, self.optimizer, epoch=epoch, length=self.epochs.length):
                for part, figures in self.batch_size.run(self._step, batch):
                    sums += figures * len(part)
                    named = dict(zip(_FIGURES, figures, strict=True))
                    shown.step(len(part), {"epoch": epoch + 1, **named, **self._last_accuracy()})
        if not self._gradient_seen:
            # Otherwise the regularisers alone would go on training, silently.
            raise ValueError(NO_GRADIENT)
        means: list[float] = (sums / self.epochs.length).tolist()
        if not torch.isfinite(sums).all():
            raise RuntimeError(f"fit: the loss is no longer finite in epoch {epoch + 1}; try a smaller learning_rate")
        return means

    def _step(self, batch: Batch) -> Tensor:
        """Take one step of the generator. Returns total loss, base loss, intra-ER and inter-ER.

        Raises:
            ValueError: no gradient of the loss reaches the images.
        """
        plan = self.plan
        self.generator.train_on(len(batch))
        with self.compute.autocast():
            perturbed = self._perturbed(batch)
            if not perturbed.images.requires_grad:
                raise ValueError("generator: expected parameters to train, got none that take a gradient here")
            # The generator sees the labels unmoved, only the surrogate sees them moved.
            base = perturbed_loss(self.loss, self.surrogate, perturbed, batch.images, plan.augment).float()
        # A loss can be a constant if labels of a batch are missing.
        if not self._gradient_seen and on_all_ranks(base.requires_grad or batch.all_labelled(self.surrogate.tasks)):
            image_gradient(base, perturbed.images, retain_graph=True)
            self._gradient_seen = True
        base = held(base, perturbed.images)
        intra, inter = (value.to(self.compute.device) for value in embedding_regularizers(self.generator.embeddings))
        total = base + plan.lambda_intra * intra + plan.lambda_inter * inter
        if total.requires_grad:
            descend(self.optimizer, total)
        return joint_mean(torch.stack([total, base, intra, inter]).detach())

    def _train_surrogate(self, learner: SurrogateTraining, epoch: int) -> float | None:
        """Take EM's turn. Returns the surrogate's accuracy on perturbed images; on all of them if it may end the run."""
        self.generator.eval()
        random = self.compute.generator(Stream.SURROGATE, epoch)
        length = len(self.samples)

        def read(order: Sequence[int]) -> Iterator[Batch]:
            return self.epochs.drawn(epoch, order, batch_size=self.batch_size.value)

        learner.take_turn(self.plan, read, self._augmented_view, length=length, random=random)
        random = self.compute.generator(Stream.ACCURACY_SAMPLE, epoch)
        sample = torch.randperm(length, generator=random)[:_ACCURACY_SAMPLE].tolist()
        accuracy = learner.accuracy(self._ordered(sample), self._perturbed_view)
        if accuracy is not None and accuracy >= self.plan.stop_accuracy and len(sample) < length:
            accuracy = learner.accuracy(self._ordered(range(length)), self._perturbed_view)
        return accuracy

    def _warn_of_a_surrogate_that_knew(self) -> None:
        """EM ends when the surrogate has learned the perturbations. Warn if it was as good on clean images."""
        if self.learner is None or len(self.history) > 1:
            return
        sample = torch.randperm(len(self.samples), generator=self.compute.generator(Stream.ACCURACY_SAMPLE, 0))
        known = self.learner.accuracy(self._ordered(sample[:_ACCURACY_SAMPLE].tolist()), lambda batch: batch)
        warn_if_it_knew(known, self.loss, stop_accuracy=self.plan.stop_accuracy)

    def _perturbed(self, batch: Batch) -> Batch:
        return batch.seen_as(self.generator.perturb(batch.images, batch.targets))

    @torch.no_grad()
    def _perturbed_view(self, batch: Batch) -> Batch:
        return self._perturbed(batch)

    @torch.no_grad()
    def _augmented_view(self, batch: Batch) -> Batch:
        return augmented(self.plan.augment, self._perturbed(batch), self.surrogate.tasks)

    def _ordered(self, order: Sequence[int]) -> Iterator[Batch]:
        return ordered_batches(self.samples, order, batch_size=self.batch_size.value, compute=self.compute)

    def _adopt(self, rank: int) -> None:
        """Take over the state of a rank."""
        self._restore(from_rank(rank, self._state))

    def _last_accuracy(self) -> dict[str, float]:
        accuracy = self.history[-1].surrogate_accuracy if len(self.history) else None
        return {} if accuracy is None else {"surrogate_accuracy": accuracy}

    def _state(self) -> dict[str, Any]:
        return {
            "generator": self.generator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "batch_size": self.batch_size.value,
            "history": [asdict(epoch) for epoch in self.history],
            "stopped_early": self.history.stopped_early,
            **({} if self.learner is None else self.learner.state_dict()),
            **state_of(self.loss),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.generator.load_state_dict(state["generator"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.batch_size.value = count_in(state, "batch_size", minimum=1)
        epochs = [Epoch(**epoch) for epoch in state["history"]]
        for epoch in epochs:
            epoch_summary(epoch)  # formatting fails for anything that is not a number
        self.history = History(epochs, stopped_early=bool(state["stopped_early"]))
        if self.learner is not None:
            self.learner.load_state_dict(state)
        restore_state(self.loss, state)
