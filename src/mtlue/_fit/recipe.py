"""What a loss is trained with where the caller does not say: the settings that were measured with it."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, cast

import torch
from torch.utils.data import Dataset

from mtlue._data import check_map_style
from mtlue._fit.plan import FitPlan
from mtlue._fit.schedule import Schedule, one_cycle
from mtlue._generator import UEGenerator
from mtlue._losses import RestartedEM
from mtlue._runtime import Compute
from mtlue._tasks import Task

# A guess: no GPU was measured. What takes minutes on a processor may as well take as many there, and show more.
_MORE_ON_GPU = 4
# Below this height or width in pixels nothing is halved.
_LEAST = 16


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What stands for arguments of `mtlue.fit` and `mtlue.protect` that are None; the defaults are the paper's (A.2).

    Attributes:
        learning_rate: Adam's.
        schedule: Share of the training done to the share of that rate.
        epochs: Passes over the data, where ``images`` does not say.
        images: How many images the generator sees on a processor, whatever the size of the set; on a GPU it sees more.
        batch_size: Samples a step; None fits the device.
        width: Channels of the first convolutions of a generator that is made.
        processor_width: The same where it is trained on a processor.
        half_size: Whether a generator that is made works at half the size of the images: a quarter of the time, and a smooth
            perturbation.
        own_networks: Whether the loss trains networks of its own. A surrogate that is made is then a small network, which is
            their pattern.
        network_passes: How often small networks see each image that the generator sees, there and back.
        surrogate_share: How long a surrogate that is made is trained, as a share of the generator's epochs; 0 for not at all.
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

    def plan(self, dataset: Dataset[Any], compute: Compute, **given: Any) -> FitPlan:
        """The settings of a training, as far as they are given; this recipe's for those that are None.

        Args:
            dataset: What it is trained on.
            compute: Where.
            given: Settings of the plan by name.

        Raises:
            TypeError: the data set is not map-style, or a setting has the wrong type.
            ValueError: a setting is out of range.
        """
        length = len(cast("Sized", check_map_style("dataset", dataset)))
        epochs = self.epochs
        if self.images is not None:
            images = self.images if compute.device.type == "cpu" else _MORE_ON_GPU * self.images
            epochs = max(1, round(images / length))
        own = {
            "epochs": epochs,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "schedule": self.schedule,
        }
        # Only these four may be left open.
        return FitPlan(**{**given, **{name: value if given.get(name) is None else given[name] for name, value in own.items()}})

    def surrogate_epochs(self, epochs: int) -> int:
        """How long a surrogate that is made is trained, for a generator that is trained for so many epochs."""
        return max(1, round(self.surrogate_share * epochs)) if self.surrogate_share else 0

    def generator(
        self, tasks: Mapping[str, Task], image_shape: tuple[int, int, int], *, epsilon: float, device: torch.device
    ) -> UEGenerator:
        """A new generator for images of a shape, with the global random numbers of torch.

        Args:
            tasks: The tasks by name.
            image_shape: Channels, height and width of the images.
            epsilon: The budget on the scale of [0, 1].
            device: Where it is to be trained.
        """
        channels, height, width = image_shape
        size = ((height + 1) // 2, (width + 1) // 2) if self.half_size and min(height, width) >= _LEAST else (height, width)
        first = self.processor_width if device.type == "cpu" else self.width
        return UEGenerator(dict(tasks), (channels, *size), epsilon=epsilon, width=first)


@singledispatch
def recipe_for(loss: object) -> Recipe:
    """The recipe of a loss. The paper's, unless another one was registered for its class."""
    return Recipe()


@recipe_for.register
def _(loss: RestartedEM) -> Recipe:
    return Recipe(
        learning_rate=3e-3,
        schedule=one_cycle,
        images=64_000,
        batch_size=64,
        processor_width=16,
        half_size=True,
        own_networks=True,
        # With its own content and with another's; the surrogate sees the first.
        network_passes=2 * loss.count + bool(loss.misleading),
        # One that has seen little is easier to mislead.
        surrogate_share=0.2 if loss.misleading else 0.0,
    )
