"""A look at defences and augmentation before hours of training."""

from __future__ import annotations

import copy

import torch
from torch import nn

from mtlue._data import JointTransform, Samples, apply_transform
from mtlue._losses import Surrogate
from mtlue._runtime import Stream, derived_seed, random_numbers
from mtlue._tasks import read_targets
from mtlue.defenses import Defense
from mtlue.evaluation._victim_check import defended_images, defended_losses

_LOOK = 4


def rehearse(defense: Defense, module: nn.Module, samples: Samples) -> None:
    """Let a defence work on a few images, on copies of itself and of the model.

    Raises:
        ValueError: it does not give back images of the same shape, or not a loss for each task.
        TypeError: it gives back something else than images.
    """
    # Not deeply: it may hold a data set.
    rehearsing = copy.copy(defense)
    victim = Surrogate(copy.deepcopy(module).train(), samples.tasks)
    device = next(module.parameters()).device
    few = samples.read(range(min(_LOOK, len(samples))), device)
    images = few.images
    with random_numbers(derived_seed(0, Stream.REHEARSAL), device):
        # One that has to see the whole set first cannot be tried on a few.
        if type(rehearsing).prepare is Defense.prepare:
            with torch.no_grad():
                defended_images(rehearsing, images)
        if len(images) > 1:
            defended_losses(rehearsing, victim, images, few.targets)


def rehearse_transform(transform: JointTransform, samples: Samples) -> None:
    """Let a joint transform move a few samples, which may be labelled with some of the tasks that it knows only.

    Raises:
        ValueError: it cannot, or gives back targets that are not the tasks'.
        TypeError: it gives back something else than images and targets.
    """
    device = torch.device("cpu")
    few = samples.read(range(min(_LOOK, len(samples))), device)
    try:
        with random_numbers(derived_seed(0, Stream.REHEARSAL), device):
            _, moved = apply_transform(transform, few.images, few.targets)
        read_targets(moved, samples.tasks)
    except (TypeError, ValueError) as error:
        raise type(error)(f"transform: for victims of the tasks {list(samples.tasks)}: {error}") from None
