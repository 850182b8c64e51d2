"""The settings of a training, checked, with the paper's values as defaults."""

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
    """How a surrogate is trained in turn with what it learns from, as in EM, and how it sees images.

    Attributes:
        learning_rate: Adam's.
        surrogate_steps: Steps of a turn.
        stop_accuracy: Accuracy on perturbed images at which the run ends.
        augment: Applied to perturbed batches before the surrogate sees them.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: one is out of range.
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
        """The settings as JSON can hold them."""
        return {**vars(self), "augment": None if self.augment is None else described(self.augment)}


@dataclass(frozen=True, kw_only=True)
class FitPlan(SurrogatePlan):
    """The settings of training a generator; `mtlue.fit` explains them."""

    epochs: int = 60
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
        """Learning rate when a share of the training is done."""
        return self.learning_rate * self.schedule(done)

    def paced(self, batches: Iterable[Batch], optimizer: torch.optim.Optimizer, *, epoch: int, length: int) -> Iterator[Batch]:
        """The batches of an epoch of so many samples, for each of which the optimiser gets the learning rate of its moment."""
        seen = 0
        for batch in batches:
            for group in optimizer.param_groups:
                group["lr"] = self.rate((epoch + seen / length) / self.epochs)
            yield batch
            seen += len(batch)

    def settings(self) -> dict[str, Any]:
        """The settings as JSON can hold them."""
        return {**super().settings(), "schedule": described_schedule(self.schedule)}
