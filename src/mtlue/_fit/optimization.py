"""One step: the loss of a perturbed batch, and how large a batch it may take."""

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
    """The loss of perturbed images as the surrogate sees them, a scalar.

    Raises:
        TypeError: the loss is not a scalar tensor, or ``augment`` returns no images.
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
    """Batch size from the memory that a step keeps for each sample until its backward pass.

    Args:
        step: The forward pass of a step; it changes nothing, but for the state of a loss.
        samples: The data set, some of which is read.
        compute: Where and how to compute.
        loss: A loss in it, which may have a state.
    """

    def step_of(count: int) -> Callable[[], object]:
        batch = samples.read(range(count), compute.device)
        return lambda: step(batch)

    with compute.random_numbers(Stream.PROBE), kept_state(loss) if loss is not None else nullcontext():
        return training_batch_size(step_of, compute.device, length=len(samples))


def module_batch_size(module: nn.Module, samples: Samples, compute: Compute) -> int:
    """Batch size where a module alone is trained."""
    module.eval()

    def forward(batch: Batch) -> object:
        with compute.autocast():
            return module(batch.images)

    return probed_batch_size(forward, samples, compute)
