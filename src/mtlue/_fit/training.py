"""Algorithm 1: training the generator, and with EM the surrogate in turn."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from mtlue._data import Batch, Samples, augmented, epochs_of, ordered_batches
from mtlue._fit.checkpoint import Checkpoint, count_in, load_optimizer
from mtlue._fit.history import Epoch, History, epoch_summary
from mtlue._fit.optimization import perturbed_loss
from mtlue._fit.plan import FitPlan
from mtlue._fit.started_epoch import StartedEpoch
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
        self.plan, self.compute, self.batch_size = plan, compute, BatchSize(batch_size)
        self.batch_size.adopt_by(self._adopt)
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
        state, started = checkpoint.load(), self._started_epoch()
        if state is not None:
            with checkpoint.taking_up():
                self._restore(state)
                started = self._started_epoch()
                started.take_up(state)
            logger.info("fit: going on after %s, from %s", started.place(len(self.history), plan.epochs), checkpoint.path)
        elif has_state(self.loss):
            # A call that resumes an interrupted first epoch may bring a loss that already saw part of it.
            checkpoint.save(self._state())
        steps = -(-length // self.batch_size.value)
        with Progress(self.compute.progress, stage="fit", total=plan.epochs * steps, images=plan.epochs * length) as shown:
            shown.skip(len(self.history) * steps + started.steps, len(self.history) * length + started.done)
            while len(self.history) < plan.epochs and not self.history.stopped_early:
                self._run_epoch(started, checkpoint, shown)
                checkpoint.save(self._state())
                started = self._started_epoch()
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

    def _started_epoch(self) -> StartedEpoch:
        return StartedEpoch(self.batch_size.value, self.compute.device, figures=len(_FIGURES))

    def _run_epoch(self, started: StartedEpoch, checkpoint: Checkpoint, shown: Progress) -> None:
        epoch = len(self.history)
        rate = self.plan.rate(epoch / self.plan.epochs)
        with self.compute.random_numbers(Stream.GENERATOR, epoch):
            means = self._train_generator(started, checkpoint, shown)
        accuracy = None
        if self.learner is not None:
            with self.compute.random_numbers(Stream.SURROGATE, epoch):
                accuracy = self._train_surrogate(self.learner, epoch)
            self.history.stopped_early = accuracy is not None and accuracy >= self.plan.stop_accuracy
        total, base, intra, inter = means
        self.history.append(Epoch(rate, total, base, intra, inter, accuracy, started.seconds))

    def _train_generator(self, started: StartedEpoch, checkpoint: Checkpoint, shown: Progress) -> list[float]:
        """Run one epoch, or the rest of it. Returns the means of total loss, base loss, intra-ER and inter-ER.

        Raises:
            RuntimeError: the loss is no longer finite.
            ValueError: no gradient of the loss reaches the images.
        """
        self.surrogate.module.eval()
        epoch, length = len(self.history), self.epochs.length
        batches = self.epochs.batches(epoch, batch_size=started.batch_size, done=started.done)
        paced = self.plan.paced(batches, self.optimizer, epoch=epoch, length=length, done=started.done)
        # The generator's step needs no gradient for the surrogate's parameters, not even with EM.
        with frozen(self.surrogate.module):
            for batch in started.followed(paced, checkpoint, self._state):
                for part, figures in self.batch_size.run(self._step, batch):
                    started.sums += figures * len(part)
                    named = dict(zip(_FIGURES, figures, strict=True))
                    shown.step(len(part), {"epoch": epoch + 1, **named, **self._last_accuracy()})
        if not self._gradient_seen:
            # Otherwise the regularisers alone would go on training, silently.
            raise ValueError(NO_GRADIENT)
        means: list[float] = (started.sums / length).tolist()
        if not torch.isfinite(started.sums).all():
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
            **self.history.state(),
            "gradient_seen": self._gradient_seen,
            **({} if self.learner is None else self.learner.state_dict()),
            **state_of(self.loss),
        }

    def _restore(self, state: dict[str, Any]) -> None:
        self.generator.load_state_dict(state["generator"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.batch_size.value = count_in(state, "batch_size", minimum=1)
        self.history = History.restored(state)
        # Older files lack it. It is then looked for again, which changes nothing.
        self._gradient_seen = bool(state.get("gradient_seen"))
        if self.learner is not None:
            self.learner.load_state_dict(state)
        restore_state(self.loss, state)
