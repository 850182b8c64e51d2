"""Try defences and augmentation before hours of training."""

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
    """Try a defence on a few images, with copies of the defence and of the model.

    Raises:
        ValueError: it does not return images of the same shape, or a loss for each task.
        TypeError: it returns something other than images.
    """
    # Not a deep copy: the defence may hold a data set.
    rehearsing = copy.copy(defense)
    victim = Surrogate(copy.deepcopy(module).train(), samples.tasks, argument="model")
    device = next(module.parameters()).device
    few = samples.read(range(min(_LOOK, len(samples))), device)
    images = few.images
    with random_numbers(derived_seed(0, Stream.REHEARSAL), device):
        # A defence that has to see the whole set first cannot be tried on a few images.
        if type(rehearsing).prepare is Defense.prepare:
            with torch.no_grad():
                defended_images(rehearsing, images)
        if len(images) > 1:
            defended_losses(rehearsing, victim, images, few.targets)


def rehearse_transform(transform: JointTransform, samples: Samples) -> None:
    """Try a joint transform on a few samples. They may carry labels of only some of the tasks that it knows.

    Raises:
        ValueError: it fails, or returns targets that do not fit the tasks.
        TypeError: it returns something other than images and targets.
    """
    device = torch.device("cpu")
    few = samples.read(range(min(_LOOK, len(samples))), device)
    try:
        with random_numbers(derived_seed(0, Stream.REHEARSAL), device):
            _, moved = apply_transform(transform, few.images, few.targets)
        read_targets(moved, samples.tasks)
    except (TypeError, ValueError) as error:
        raise type(error)(f"transform: for victims of the tasks {list(samples.tasks)}: {error}") from None
