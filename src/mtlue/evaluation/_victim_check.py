"""What a model, a defence and a weighting must give before a step of a victim means anything."""

from __future__ import annotations

import copy
from collections.abc import Mapping

from torch import Tensor

from mtlue._data import Samples
from mtlue._fit import answer_of
from mtlue._losses import Surrogate
from mtlue._runtime import Compute, Stream
from mtlue.defenses import Defense
from mtlue.evaluation._weighting import Weighting

_LOOKED_AT = 2


def check_victim(victim: Surrogate, samples: Samples, compute: Compute) -> None:
    """Show a few images to a copy of a model, in training mode.

    Raises:
        TypeError: its answers are not made of tensors.
        ValueError: it fails on the images, its answers do not fit the tasks, or no gradient would reach its parameters.
    """
    few = samples.read(range(min(_LOOKED_AT, len(samples))), compute.device)
    # A single sample has no statistics of its own for batch normalisation.
    looked_at = victim.with_module(copy.deepcopy(victim.module).train(len(few) > 1))
    with compute.random_numbers(Stream.REHEARSAL), compute.autocast():
        outputs = looked_at.read(answer_of(looked_at, few.images))
    if not any(output.requires_grad for output in outputs.values()):
        raise ValueError("model: no gradient reaches its parameters; is there torch.no_grad or .detach() in its forward?")


def defended_images(defense: Defense, images: Tensor) -> Tensor:
    """What a defence makes of a batch of images.

    Raises:
        TypeError: it gives back something else than images.
        ValueError: they have another shape.
    """
    changed: object = defense.images(images)
    if not isinstance(changed, Tensor):
        raise TypeError(f"defense: expected {defense.name} to return images, got {type(changed).__name__}")
    if changed.shape != images.shape:
        shapes = f"{tuple(images.shape)}, got {tuple(changed.shape)}"
        raise ValueError(f"defense: expected {defense.name} to return images of the same shape {shapes}")
    return changed


def defended_losses(defense: Defense, victim: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
    """The loss of each task under a defence.

    Raises:
        ValueError: it is not a loss for each task, or no gradient comes from any.
    """
    losses: object = defense.losses(victim, images, targets)
    if not isinstance(losses, dict) or set(losses) != set(victim.tasks):
        got = list(losses) if isinstance(losses, dict) else type(losses).__name__
        raise ValueError(f"defense: expected {defense.name} to return a loss for each of {list(victim.tasks)}, got {got}")
    if not any(isinstance(loss, Tensor) and loss.requires_grad for loss in losses.values()):
        raise ValueError(f"defense: expected {defense.name} to return losses with a gradient, got constants")
    return losses


def weighted_backward(weighting: Weighting, losses: Mapping[str, Tensor], victim: Surrogate) -> None:
    """Have a weighting put gradients into a model that has none.

    Raises:
        ValueError: it leaves none there.
        RuntimeError: it fails.
    """
    try:
        weighting.backward(losses, victim.module)
    except RuntimeError as error:
        # What torch says of a tensor that was detached.
        if "does not require grad" not in str(error):
            raise
        raise ValueError(f"weighting: {weighting!r} takes the gradient of a constant: {error}") from error
    if all(parameter.grad is None for parameter in victim.module.parameters()):
        raise ValueError(
            f"weighting: expected {weighting!r}.backward to put gradients into the model's parameters, but it left none"
        )
