"""Recipes: the settings that a loss was measured with, for arguments that the caller leaves open."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass, replace
from functools import singledispatch
from types import MappingProxyType
from typing import Any, cast

import torch
from torch.utils.data import Dataset

from mtlue._fit.plan import FitPlan
from mtlue._fit.schedule import Schedule, one_cycle
from mtlue._generator import UEGenerator
from mtlue._losses import RestartedEM
from mtlue._runtime import Compute
from mtlue._tasks import Task

# A guess, because no GPU was measured: a training may take as many minutes there as on a CPU, and sees more images.
_MORE_ON_GPU = 4
# Images below this height or width, in pixels, are not halved.
_LEAST = 16


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Values for arguments of `mtlue.fit` and `mtlue.protect` that are None. The defaults are the paper's (A.2).

    Attributes:
        learning_rate: Learning rate of Adam.
        schedule: A function from the share of the training that is done to a factor for the learning rate.
        epochs: Passes over the data, unless ``images`` decides.
        images: How many images the generator sees on a CPU, whatever the size of the set. On a GPU it sees more.
        batch_size: Samples in a step. None fits the device.
        width: Channels of the first convolutions of a new generator.
        processor_width: The same for a generator that is trained on a CPU.
        half_size: Whether a new generator works at half the size of the images. This takes a quarter of the time and makes
            perturbations smooth.
        own_networks: Whether the loss trains networks of its own. A new surrogate is then a small network, which serves as
            their pattern.
        network_passes: How often small networks see each image that the generator sees, forward and backward.
        surrogate_share: How long a new surrogate is trained, as a share of the generator's epochs. 0 for not at all.
        surrogate_schedule: Schedule of a new surrogate's training. None means that of the generator.
    """

    learning_rate: float = FitPlan.learning_rate
    schedule: Schedule = FitPlan.schedule
    epochs: int = FitPlan.epochs
    images: int | None = None
    batch_size: int | None = FitPlan.batch_size
    width: int = 64
    processor_width: int = 64
    half_size: bool = False
    own_networks: bool = False
    network_passes: float = 0.0
    surrogate_share: float = 1.0
    surrogate_schedule: Schedule | None = None

    def plan(self, dataset: Dataset[Any], compute: Compute, **given: Any) -> FitPlan:
        """Make the settings of a training: the given ones, and those of this recipe for the rest.

        Args:
            dataset: The data set to train on, which has been checked. One without a length needs ``steps_per_epoch``.
            compute: Where to compute.
            given: Settings by name; None leaves one open.

        Raises:
            TypeError: a setting has the wrong type.
            ValueError: a setting is out of range.
        """
        epochs = self.epochs
        if self.images is not None:
            steps, batch_size = given.get("steps_per_epoch"), given.get("batch_size") or self.batch_size
            length = len(cast("Sized", dataset)) if steps is None or batch_size is None else steps * batch_size
            images = self.images if compute.device.type == "cpu" else _MORE_ON_GPU * self.images
            epochs = max(1, round(images / length))
        own = {
            "epochs": epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "schedule": self.schedule,
        }
        # Only these four can be left open.
        return FitPlan(**{**given, **{name: value if given.get(name) is None else given[name] for name, value in own.items()}})

    def surrogate_epochs(self, epochs: int) -> int:
        """Return the number of epochs for a new surrogate, given those of the generator."""
        return max(1, round(self.surrogate_share * epochs)) if self.surrogate_share else 0

    def surrogate_plan(self, plan: FitPlan) -> FitPlan:
        """Return the settings for a new surrogate, given those of the generator."""
        return replace(plan, epochs=self.surrogate_epochs(plan.epochs), schedule=self.surrogate_schedule or plan.schedule)

    def generator(
        self, tasks: Mapping[str, Task], image_shape: tuple[int, int, int], *, epsilon: float, device: torch.device
    ) -> UEGenerator:
        """Make a new generator, using torch's global random numbers.

        Args:
            tasks: Tasks by name.
            image_shape: Channels, height and width of the images.
            epsilon: The budget on the scale of [0, 1].
            device: The device on which it will be trained.
        """
        channels, height, width = image_shape
        size = ((height + 1) // 2, (width + 1) // 2) if self.half_size and min(height, width) >= _LEAST else (height, width)
        first = self.processor_width if device.type == "cpu" else self.width
        return UEGenerator(dict(tasks), (channels, *size), epsilon=epsilon, width=first)


@singledispatch
def recipe_for(loss: object, tasks: Mapping[str, Task] = MappingProxyType({})) -> Recipe:
    """Return the recipe of a loss for some tasks: the one registered for its class, or else the paper's."""
    return Recipe()


@recipe_for.register
def _(loss: RestartedEM, tasks: Mapping[str, Task] = MappingProxyType({})) -> Recipe:
    # With its own content and with another image's. The surrogate sees the first.
    passes = 2 * loss.count + bool(loss.misleading)
    if any(task.is_map for task in tasks.values()):
        # An outline needs each pixel, and networks that answer each pixel need more steps.
        return Recipe(
            learning_rate=3e-3,
            images=20_000,
            batch_size=16,
            processor_width=12,
            own_networks=True,
            network_passes=passes,
            surrogate_share=0.15 if loss.misleading else 0.0,
            surrogate_schedule=one_cycle,
        )
    return Recipe(
        learning_rate=3e-3,
        schedule=one_cycle,
        images=64_000,
        batch_size=64,
        processor_width=16,
        half_size=True,
        own_networks=True,
        network_passes=passes,
        # A surrogate that has seen little is easier to mislead.
        surrogate_share=0.2 if loss.misleading else 0.0,
    )
