"""Signed gradient steps on the pixels of a batch: the one loop behind all pixel-level baselines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mtlue._checks import check_batch_size, check_count, check_epsilon, check_number
from mtlue._data import Batch, Samples, ordered_batches
from mtlue._fit import SurrogatePlan, perturbed_loss
from mtlue._losses import BaseUELoss, Surrogate, image_gradient
from mtlue._runtime import BatchSize, Compute, Progress, Stream


@dataclass(frozen=True, kw_only=True)
class SearchPlan(SurrogatePlan):
    """The settings of a search; `mtlue.baselines.pgd` explains them."""

    epsilon: float = 8 / 255
    step_size: float = 0.064 / 255
    steps: int = 250
    rounds: int = 1
    batch_size: int | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        check_epsilon("epsilon", self.epsilon)
        check_number("step_size", self.step_size, above=0.0)
        check_count("steps", self.steps, minimum=1)
        check_count("rounds", self.rounds, minimum=1)
        check_batch_size(self.batch_size)
        super().__post_init__()


@dataclass(frozen=True)
class Pixels:
    """Some clean samples, and the perturbations that a search starts from. A slice takes some of them.

    Attributes:
        clean: The clean samples.
        start: Perturbations (B, C, H, W), on any device.
        first: Position of the first sample in the data set.
    """

    clean: Batch
    start: Tensor
    first: int

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.clean)

    def __getitem__(self, part: slice) -> Pixels:
        """Return some of the samples."""
        return Pixels(self.clean[part], self.start[part], self.first + (part.start or 0))


class PixelSearch:
    """Searches for the perturbation of each sample that minimises a loss (equations 1 and 2, projected gradient descent).

    Args:
        surrogate: The surrogate on its device, in eval mode and frozen during a search.
        loss: The loss to minimise.
        samples: The data set, with images of one size.
        plan: The settings.
        compute: Where and how to compute.
        batch_size: Largest batch. It is halved when memory runs out.
        progress: Shows the steps on each batch.
    """

    def __init__(
        self,
        surrogate: Surrogate,
        loss: BaseUELoss,
        samples: Samples,
        plan: SearchPlan,
        compute: Compute,
        batch_size: BatchSize,
        progress: Progress,
    ) -> None:
        self.surrogate, self.loss, self.samples = surrogate, loss, samples
        self.plan, self.compute, self.batch_size, self.progress = plan, compute, batch_size, progress
        #: Figures to show beside the loss of each step.
        self.figures: dict[str, float] = {}

    def batches(self, order: Iterable[int]) -> Iterator[Batch]:
        """Yield clean images and targets of some samples."""
        return ordered_batches(self.samples, order, batch_size=self.batch_size.value, compute=self.compute)

    def descend(self, pixels: Pixels, *, steps: int, round: int) -> Tensor:
        """Return the perturbations of some samples after the given number of steps, on the CPU.

        Args:
            pixels: The samples and where to start.
            steps: Number of steps.
            round: The current round. With the position of the samples it decides the random numbers of augmentation and loss,
                which must not depend on where an interrupted call resumed.

        Raises:
            RuntimeError: the loss or its gradient is no longer finite.
        """

        def search(part: Pixels) -> Tensor:
            with self.compute.random_numbers(Stream.PIXEL_SEARCH, round, part.first):
                return self._descend(part.clean, part.start.to(part.clean.images.device), steps).cpu()

        return torch.cat([delta for _, delta in self.batch_size.run(search, pixels)])

    def _descend(self, batch: Batch, delta: Tensor, steps: int) -> Tensor:
        plan, images = self.plan, batch.images
        # A value outside [0, 1] could never be saved, and behind a clamp it would get no gradient that brings it back. Within
        # these bounds images + delta lies exactly in [0, 1], so no clamp is needed. Its gradient would vanish at 0 and 1.
        low, high = (-images).clamp_min(-plan.epsilon), (1 - images).clamp_max(plan.epsilon)
        delta = delta.clamp(low, high)
        finite = torch.tensor(True, device=images.device)
        for _ in range(steps):
            delta.requires_grad_(True)
            value = self.loss_value(Batch(images + delta, batch.targets), images)
            gradient = image_gradient(value, delta)
            # The sign of NaN is 0, which would hide the fault.
            finite &= value.isfinite() & gradient.isfinite().all()
            delta = (delta.detach() - plan.step_size * gradient.sign()).clamp(low, high)
            self.progress.step(len(images), {**self.figures, "loss": value.detach()})
        # Once for each batch, because reading a value from a GPU waits for it.
        if not finite.item():
            raise RuntimeError("pgd: the loss or its gradient at the images is not finite; does the surrogate answer with NaN?")
        return delta

    def loss_value(self, perturbed: Batch, clean: Tensor) -> Tensor:
        """Return the loss of perturbed images as the surrogate sees them, a scalar.

        Raises:
            TypeError: the loss is not a scalar tensor.
        """
        with self.compute.autocast():
            return perturbed_loss(self.loss, self.surrogate, perturbed, clean, self.plan.augment)
