"""Training the surrogate of those who bring none."""

from __future__ import annotations

import logging
import os

import torch
from torch import Tensor

from mtlue._data import Samples, Transform, augmented, shuffled_batches
from mtlue._data.batches import Batch
from mtlue._fit.checkpoint import Checkpoint
from mtlue._fit.module_memory import module_batch_size
from mtlue._fit.schedule import paper_schedule
from mtlue._fit.surrogate_steps import train_surrogate
from mtlue._losses import Surrogate
from mtlue._runtime.device import derived_seed, random_numbers
from mtlue._runtime.memory import BatchSize
from mtlue._runtime.progress import Progress, ProgressOption
from mtlue._tasks import CheckedTargets

_PRETRAINING = 4

logger = logging.getLogger("mtlue.protect")


def pretrain(
    surrogate: Surrogate,
    samples: Samples,
    *,
    size: tuple[int, int] | None,
    epochs: int,
    batch_size: int | None,
    augment: Transform | None,
    device: torch.device,
    precision: torch.dtype,
    num_workers: int,
    seed: int,
    checkpoint: str | os.PathLike[str] | None,
    progress: ProgressOption,
) -> None:
    """Train a surrogate on the clean data, with the schedule of appendix A.2; resume from ``checkpoint`` if it is there."""
    module = surrogate.module.to(device)
    if batch_size is None:
        batch_size = module_batch_size(module, samples, size, device, precision)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    settings = {
        "stage": "surrogate",
        "samples": len(samples),
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "precision": str(precision),
    }
    kept = Checkpoint(checkpoint, settings)
    state = kept.load()
    largest = BatchSize(batch_size)
    done = 0

    def view(images: Tensor, targets: CheckedTargets) -> Batch:
        return augmented(augment, images, targets, surrogate.tasks)

    if state is not None:
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        done, largest.value = state["epoch"], state["batch_size"]
        logger.info("surrogate: going on after epoch %d of %d, from %s", done, epochs, kept.path)
    else:
        logger.info("surrogate: %d samples, %d epochs, batches of %d samples, on %s", len(samples), epochs, batch_size, device)
    with Progress(progress, stage="surrogate", total=epochs, images=epochs * len(samples)) as shown:
        shown.skip(done, done * len(samples))
        for epoch in range(done, epochs):
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * paper_schedule(epoch / epochs)
            epoch_seed = derived_seed(seed, _PRETRAINING, epoch)
            batches = shuffled_batches(
                samples, batch_size=largest.value, seed=epoch_seed, size=size, device=device, num_workers=num_workers
            )
            with random_numbers(epoch_seed, device):
                loss = train_surrogate(
                    surrogate,
                    optimizer,
                    batches,
                    view,
                    batch_size=largest,
                    precision=precision,
                )
            figures = {"epoch": epoch + 1, "surrogate_loss": loss.item()}
            shown.step(len(samples), lambda figures=figures: figures)  # type: ignore[misc]  # mypy types no default of a lambda
            kept.save({
                "module": module.state_dict(),
                "optimizer": optimizer.state_dict(),
                "epoch": epoch + 1,
                "batch_size": largest.value,
            })
            logger.info("surrogate: epoch %d of %d: loss %.4g", epoch + 1, epochs, figures["surrogate_loss"])
    module.eval()
