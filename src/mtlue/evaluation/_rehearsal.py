"""A look at defences and augmentation before hours of training."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from mtlue._data import Batch, JointTransform, Samples, apply_transform, ordered_batches
from mtlue._losses import Surrogate
from mtlue._runtime.device import derived_seed, random_numbers
from mtlue._tasks import read_targets
from mtlue.defenses import Defense

_REHEARSAL = 12
_LOOK = 4


def rehearse(defense: Defense, module: nn.Module, samples: Samples, *, image_size: tuple[int, int] | None) -> None:
    """Let a defence work on a few images, on copies of itself and of the model.

    Raises:
        ValueError: it does not give back images of the same shape, or not a loss for each task.
        TypeError: it gives back something else than images.
    """
    # Not deeply: it may hold a data set.
    rehearsing = copy.copy(defense)
    victim = Surrogate(copy.deepcopy(module).train(), samples.tasks)
    device = next(module.parameters()).device
    images, targets = _a_few(samples, image_size, device)
    with random_numbers(derived_seed(0, _REHEARSAL), device):
        # One that has to see the whole set first cannot be tried on a few.
        if type(rehearsing).prepare is Defense.prepare:
            with torch.no_grad():
                changed = rehearsing.images(images)
            _check_images(defense, changed, images)
        if len(images) > 1:
            losses = rehearsing.losses(victim, images, targets)
            if not isinstance(losses, dict) or set(losses) != set(samples.tasks):
                got = list(losses) if isinstance(losses, dict) else type(losses).__name__
                raise ValueError(
                    f"defense: expected {defense.name} to return a loss for each of {list(samples.tasks)}, got {got}"
                )


def rehearse_transform(transform: JointTransform, samples: Samples, *, image_size: tuple[int, int] | None) -> None:
    """Let a joint transform move a few samples, which may be labelled with some of the tasks that it knows only.

    Raises:
        ValueError: it cannot, or gives back targets that are not the tasks'.
        TypeError: it gives back something else than images and targets.
    """
    device = torch.device("cpu")
    images, targets = _a_few(samples, image_size, device)
    try:
        with random_numbers(derived_seed(0, _REHEARSAL), device):
            _, moved = apply_transform(transform, images, targets)
        read_targets(moved, samples.tasks)
    except (TypeError, ValueError) as error:
        raise type(error)(f"transform: for victims of the tasks {list(samples.tasks)}: {error}") from None


def _a_few(samples: Samples, image_size: tuple[int, int] | None, device: torch.device) -> Batch:
    count = min(_LOOK, len(samples))
    return next(iter(ordered_batches(samples, range(count), batch_size=count, size=image_size, device=device, num_workers=0)))


def _check_images(defense: Defense, changed: object, images: Tensor) -> None:
    if not isinstance(changed, Tensor):
        raise TypeError(f"defense: expected {defense.name} to return images, got {type(changed).__name__}")
    if changed.shape != images.shape:
        shapes = f"{tuple(images.shape)}, got {tuple(changed.shape)}"
        raise ValueError(f"defense: expected {defense.name} to return images of the same shape {shapes}")
