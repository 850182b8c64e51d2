"""Train a surrogate on clean data for users who bring none."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path
from typing import Any

from mtlue._data import Batch, Samples, augmented, run_settings, shuffled_batches
from mtlue._fit.checkpoint import Checkpoint, count_in
from mtlue._fit.optimization import module_batch_size
from mtlue._fit.plan import FitPlan
from mtlue._fit.started_epoch import StartedEpoch
from mtlue._fit.surrogate_training import SurrogateTraining
from mtlue._losses import Surrogate
from mtlue._runtime import BatchSize, Compute, Progress, Stream, from_rank, smallest

logger = logging.getLogger("mtlue.protect")


def pretrain(surrogate: Surrogate, samples: Samples, plan: FitPlan, compute: Compute, *, checkpoint: Path | None) -> None:
    """Train a surrogate on the clean data with the schedule of the plan. Resume from ``checkpoint`` if it exists."""
    module = surrogate.module.to(compute.device)

    def view(batch: Batch) -> Batch:
        return augmented(plan.augment, batch, surrogate.tasks)

    module.load_state_dict(from_rank(0, module.state_dict))
    batch_size = smallest(plan.batch_size or module_batch_size(module, samples, compute))
    size = BatchSize(batch_size)
    training = SurrogateTraining(surrogate, learning_rate=plan.learning_rate, batch_size=size, compute=compute)
    size.adopt_by(training.adopt)
    epochs, length, done = plan.epochs, len(samples), 0
    settings = (
        {} if checkpoint is None else run_settings(samples, {"stage": "surrogate", **plan.settings(), **compute.settings()})
    )
    kept = Checkpoint(checkpoint, settings)
    state, started = kept.load(), StartedEpoch(batch_size, compute.device)
    if state is None:
        logger.info(
            "surrogate: %d samples, %d epochs, batches of %d samples, on %s", length, epochs, batch_size, compute.device
        )
    else:
        with kept.taking_up():
            training.load_state_dict(state)
            done, size.value = count_in(state, "epoch"), count_in(state, "batch_size", minimum=1)
            started = StartedEpoch(size.value, compute.device)
            started.take_up(state)
        logger.info("surrogate: going on after %s, from %s", started.place(done, epochs), kept.path)

    def reached(epoch: int) -> dict[str, Any]:
        return {**training.state_dict(), "epoch": epoch, "batch_size": size.value}

    steps = -(-length // size.value)
    with Progress(compute.progress, stage="surrogate", total=epochs * steps, images=epochs * length) as shown:
        shown.skip(done * steps + started.steps, done * length + started.done)
        for epoch in range(done, epochs):
            seed = compute.seed_of(Stream.PRETRAINING, epoch)
            batches = shuffled_batches(samples, batch_size=started.batch_size, compute=compute, seed=seed, done=started.done)
            with compute.random_numbers(Stream.PRETRAINING, epoch):
                paced = plan.paced(batches, training.optimizer, epoch=epoch, length=length, done=started.done)
                loss = training.train(started.followed(paced, kept, partial(reached, epoch)), view, shown).item()
            kept.save(reached(epoch + 1))
            started = StartedEpoch(size.value, compute.device)
            logger.info("surrogate: epoch %d of %d: loss %.4g", epoch + 1, epochs, loss)
    module.eval()
