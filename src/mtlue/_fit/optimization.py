"""One training step: the loss of a perturbed batch, and the batch size that fits into memory."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from torch import Tensor, nn

from mtlue._data import Batch, Samples, Transform, augmented, augmented_alike
from mtlue._losses import BaseUELoss, Surrogate, kept_state, loss_value, takes_clean_images
from mtlue._runtime import Compute, Stream, training_batch_size


def perturbed_loss(
    loss: BaseUELoss, surrogate: Surrogate, perturbed: Batch, clean: Tensor, augment: Transform | None
) -> Tensor:
    """Return the loss of perturbed images as the surrogate sees them, a scalar.

    Raises:
        TypeError: the loss is not a scalar tensor, or ``augment`` does not return images.
        ValueError: the loss fails, or ``augment`` returns images of another form.
    """
    if takes_clean_images(loss):
        seen, beside = augmented_alike(augment, perturbed, clean, surrogate.tasks)
        return loss_value(loss, surrogate, seen.images, seen.targets, beside)
    seen = augmented(augment, perturbed, surrogate.tasks)
    return loss_value(loss, surrogate, seen.images, seen.targets)


def probed_batch_size(
    step: Callable[[Batch], object], samples: Samples, compute: Compute, *, loss: BaseUELoss | None = None
) -> int:
    """Choose a batch size from the memory that a step keeps for each sample until the backward pass.

    Args:
        step: The forward pass of a step. It must change nothing except the state of a loss.
        samples: The data set. Some samples are read.
        compute: Where and how to compute.
        loss: The loss in that step, which may have a state.
    """

    def step_of(count: int) -> Callable[[], object]:
        batch = samples.read(range(count), compute.device)
        return lambda: step(batch)

    with compute.random_numbers(Stream.PROBE), kept_state(loss) if loss is not None else nullcontext():
        return training_batch_size(step_of, compute.device, length=samples.extent)


def module_batch_size(module: nn.Module, samples: Samples, compute: Compute) -> int:
    """Choose a batch size for training a module alone."""
    module.eval()

    def forward(batch: Batch) -> object:
        with compute.autocast():
            return module(batch.images)

    return probed_batch_size(forward, samples, compute)
