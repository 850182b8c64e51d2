"""Signed gradient steps on the pixels of a batch: the one loop behind every pixel-level baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mtlue._data import Samples, Transform, augmented, ordered_batches
from mtlue._data.batches import Batch
from mtlue._fit.surrogate_steps import part_of
from mtlue._losses import BaseUELoss, Surrogate
from mtlue._losses.base import image_gradient, loss_value
from mtlue._runtime.device import autocast, derived_seed, random_numbers
from mtlue._runtime.memory import BatchSize
from mtlue._runtime.progress import Progress
from mtlue._tasks import CheckedTargets

_SEARCH = 7


@dataclass(frozen=True)
class SearchPlan:
    """The settings of a search; `mtlue.baselines.pgd` explains them."""

    epsilon: float
    step_size: float
    steps: int
    rounds: int
    surrogate_steps: int
    learning_rate: float
    stop_accuracy: float
    augment: Transform | None
    device: torch.device
    precision: torch.dtype
    num_workers: int
    seed: int


class PixelSearch:
    """Looks for the perturbation of each sample that minimises a loss (equations 1 and 2, projected gradient descent).

    Args:
        surrogate: On the device of the plan, in eval mode, taking no gradient while a search goes on.
        loss: What is minimised.
        samples: The data set, with images of one size.
        plan: The settings.
        batch_size: Largest batch; halved when memory runs out.
        progress: Counts the steps on each batch.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        loss: BaseUELoss,
        samples: Samples,
        plan: SearchPlan,
        batch_size: BatchSize,
        progress: Progress,
    ) -> None:
        self.surrogate, self.loss, self.samples = surrogate, loss, samples
        self.plan, self.batch_size, self.progress = plan, batch_size, progress
        #: What is shown beside the loss of each step.
        self.figures: dict[str, float] = {}

    def batches(self, order: Sequence[int]) -> Iterator[Batch]:
        """Clean images and targets of some samples."""
        return ordered_batches(
            self.samples,
            order,
            batch_size=self.batch_size.value,
            size=None,
            device=self.plan.device,
            num_workers=self.plan.num_workers,
        )

    def descend(
        self, images: Tensor, targets: CheckedTargets, start: Tensor | None, *, steps: int, round: int, first: int
    ) -> Tensor:
        """The perturbations of a batch after so many steps, on the CPU.

        Args:
            images: Clean images (B, C, H, W) in [0, 1].
            targets: Their labels.
            start: Perturbations to start from; zero if None.
            steps: Number of steps.
            round: Current round, and
            first: position of the first sample: they decide the random numbers of augmentation and loss, so that these do
                not depend on where an interrupted call was taken up.

        Raises:
            RuntimeError: the loss or its gradient is no longer finite.
        """
        done: list[Tensor] = []

        def search(part: slice) -> Tensor:
            labels = part_of(targets, part)
            begin = torch.zeros_like(images[part]) if start is None else start[part].to(images.device)
            with random_numbers(derived_seed(self.plan.seed, _SEARCH, round, first + part.start), self.plan.device):
                return self._descend(images[part], labels, begin, steps).cpu()

        self.batch_size.run(len(images), search, lambda _, delta: done.append(delta))
        return torch.cat(done)

    def _descend(self, images: Tensor, targets: CheckedTargets, delta: Tensor, steps: int) -> Tensor:
        plan = self.plan
        # What is outside [0, 1] could never be saved, and behind a clamp it would take no gradient that brings it back. Within
        # these bounds images + delta lies in [0, 1] to the last bit: no clamp is needed, whose gradient at 0 and 1 is none.
        low, high = (-images).clamp_min(-plan.epsilon), (1 - images).clamp_max(plan.epsilon)
        delta = delta.clamp(low, high)
        finite = torch.tensor(True, device=images.device)
        for _ in range(steps):
            delta.requires_grad_(True)
            value = self.loss_value(images + delta, targets)
            gradient = image_gradient(value, delta)
            # The sign of what is not a number is 0, and would not show.
            finite &= value.isfinite() & gradient.isfinite().all()
            delta = (delta.detach() - plan.step_size * gradient.sign()).clamp(low, high)
            self.progress.step(len(images), _figures(self.figures, value.detach()))
        # Once a batch: a look at a value on a GPU waits for it.
        if not finite.item():
            raise RuntimeError("pgd: the loss or its gradient at the images is not finite; does the surrogate answer with NaN?")
        return delta

    def loss_value(self, perturbed: Tensor, targets: CheckedTargets) -> Tensor:
        """The loss of perturbed images as the surrogate is to see them, a scalar.

        Raises:
            TypeError: the loss is no scalar tensor.
        """
        plan = self.plan
        with autocast(plan.device, plan.precision):
            seen, labels = augmented(plan.augment, perturbed, targets, self.surrogate.tasks)
            return loss_value(self.loss, self.surrogate, seen, labels)


def _figures(others: dict[str, float], value: Tensor) -> Callable[[], dict[str, float]]:
    return lambda: {**others, "loss": value.item()}
