"""The checked settings of a training. The defaults are the paper's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from mtlue._checks import check_batch_size, check_count, check_number
from mtlue._data import Batch, Transform, checked_transform
from mtlue._fit.schedule import Schedule, check_schedule, described_schedule, paper_schedule
from mtlue._runtime import described


@dataclass(frozen=True, kw_only=True)
class SurrogatePlan:
    """How to train a surrogate in turn with the generator, as in EM, and how the surrogate sees images.

    Attributes:
        learning_rate: Learning rate of Adam.
        surrogate_steps: Steps in a turn.
        stop_accuracy: Accuracy on perturbed images at which the run ends.
        augment: Applied to perturbed batches before the surrogate sees them.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range.
    """

    learning_rate: float = 1e-3
    surrogate_steps: int = 10
    stop_accuracy: float = 0.99
    augment: Transform | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        check_number("learning_rate", self.learning_rate, above=0.0)
        check_count("surrogate_steps", self.surrogate_steps, minimum=0)
        check_number("stop_accuracy", self.stop_accuracy, above=0.0)
        checked_transform(self.augment)

    def settings(self) -> dict[str, Any]:
        """Return the settings in a form that JSON can hold."""
        return {**vars(self), "augment": None if self.augment is None else described(self.augment)}


@dataclass(frozen=True, kw_only=True)
class FitPlan(SurrogatePlan):
    """The settings of training a generator; `mtlue.fit` explains them."""

    epochs: int = 60
    steps_per_epoch: int | None = None
    batch_size: int | None = None
    schedule: Schedule = paper_schedule
    lambda_intra: float = 20.0
    lambda_inter: float = 100.0

    def __post_init__(self) -> None:
        """Check the values."""
        check_count("epochs", self.epochs, minimum=1)
        check_batch_size(self.batch_size)
        check_schedule(self.schedule)
        super().__post_init__()
        check_number("lambda_intra", self.lambda_intra)
        check_number("lambda_inter", self.lambda_inter)

    def rate(self, done: float) -> float:
        """Return the learning rate after a share of the training."""
        return self.learning_rate * self.schedule(done)

    def paced(
        self, batches: Iterable[Batch], optimizer: torch.optim.Optimizer, *, epoch: int, length: int, done: int = 0
    ) -> Iterator[Batch]:
        """Yield the batches of an epoch that are left after ``done`` of its samples, and set the learning rate before each."""
        seen = done
        for batch in batches:
            for group in optimizer.param_groups:
                group["lr"] = self.rate((epoch + seen / length) / self.epochs)
            yield batch
            seen += len(batch)

    def settings(self) -> dict[str, Any]:
        """Return the settings in a form that JSON can hold."""
        settings = {**super().settings(), "schedule": described_schedule(self.schedule)}
        if self.steps_per_epoch is None:
            # A run that was interrupted before there was this setting goes on.
            del settings["steps_per_epoch"]
        return settings
