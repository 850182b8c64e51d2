"""Train a surrogate on clean data for users who bring none."""

from __future__ import annotations

import logging
from pathlib import Path

from mtlue._data import Batch, Samples, augmented, run_settings, shuffled_batches
from mtlue._fit.checkpoint import Checkpoint, count_in
from mtlue._fit.optimization import module_batch_size
from mtlue._fit.plan import FitPlan
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
    size = BatchSize(batch_size, adopt=lambda rank: training.load_state_dict(from_rank(rank, training.state_dict)))
    training = SurrogateTraining(surrogate, learning_rate=plan.learning_rate, batch_size=size, compute=compute)
    epochs, length, done = plan.epochs, len(samples), 0
    settings = (
        {} if checkpoint is None else run_settings(samples, {"stage": "surrogate", **plan.settings(), **compute.settings()})
    )
    kept = Checkpoint(checkpoint, settings)
    state = kept.load()
    if state is None:
        logger.info(
            "surrogate: %d samples, %d epochs, batches of %d samples, on %s", length, epochs, batch_size, compute.device
        )
    else:
        with kept.taking_up():
            training.load_state_dict(state)
            done, size.value = count_in(state, "epoch"), count_in(state, "batch_size", minimum=1)
        logger.info("surrogate: going on after epoch %d of %d, from %s", done, epochs, kept.path)
    steps = -(-length // size.value)
    with Progress(compute.progress, stage="surrogate", total=epochs * steps, images=epochs * length) as shown:
        shown.skip(done * steps, done * length)
        for epoch in range(done, epochs):
            seed = compute.seed_of(Stream.PRETRAINING, epoch)
            batches = shuffled_batches(samples, batch_size=size.value, compute=compute, seed=seed)
            with compute.random_numbers(Stream.PRETRAINING, epoch):
                paced = plan.paced(batches, training.optimizer, epoch=epoch, length=length)
                loss = training.train(paced, view, shown).item()
            kept.save({**training.state_dict(), "epoch": epoch + 1, "batch_size": size.value})
            logger.info("surrogate: epoch %d of %d: loss %.4g", epoch + 1, epochs, loss)
    module.eval()
