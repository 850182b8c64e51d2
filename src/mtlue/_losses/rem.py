"""Robust error-minimising examples."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mtlue._checks import check_count
from mtlue._losses.adversary import Adversary
from mtlue._losses.base import BaseUELoss
from mtlue._losses.surrogate import Surrogate
from mtlue._runtime import drawn_alike


class REM(BaseUELoss):
    """Robust error-minimising: make the true labels easy even for a model trained adversarially (Fu et al., 2022).

    EM's perturbation is lost on a victim that trains on the worst images within a radius. REM minimises the loss at those worst
    images instead, and its surrogate learns from them, in turn with the generator or the search (ICLR 2022, section 4). Keep
    ``radius`` below the budget of the perturbation, because an adversary with the whole budget can undo it. The paper takes
    4/255 for a budget of 8/255.

    The paper also averages over random augmentations. Give them as ``transform``, with ``samples`` draws a step, five in the
    paper. It is applied before the search for the worst images, and the surrogate sees it too. ``augment`` of `mtlue.fit` and
    `mtlue.baselines.pgd` does the same with one draw a step, and can move label maps with the images.

    A step costs ``samples * (steps + 1)`` times as much as a step of EM, and a step of the surrogate ``steps + 1`` times as
    much.

    Args:
        radius: Largest change of a pixel by the adversary, on the scale of [0, 1].
        step_size: Change of a pixel in one of its steps.
        steps: Number of its steps.
        transform: Random augmentation of images (B, C, H, W) that keeps labels and lets gradients through, such as
            `mtlue.evaluation.random_crop_and_flip`; None for none.
        samples: Draws of the augmentation, and of the adversary's start, to average over.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: one is out of range.

    Example:
        >>> import torch, mtlue
        >>> dataset = [(torch.rand(1, 8, 8), index % 2) for index in range(16)]
        >>> generator = mtlue.UEGenerator({"shape": 2}, (1, 8, 8), width=4)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> mtlue.fit(generator, dataset, net, loss=mtlue.REM(steps=2), epochs=2, progress=False)
        History(2 epochs, base_loss=...)
    """

    trains_surrogate = True

    def __init__(
        self,
        *,
        radius: float = 4 / 255,
        step_size: float = 0.8 / 255,
        steps: int = 10,
        transform: Callable[[Tensor], Tensor] | None = None,
        samples: int = 1,
    ) -> None:
        self._adversary = Adversary(radius, step_size, steps)
        if transform is not None and not callable(transform):
            raise TypeError(f"transform: expected a function on images, got {transform!r}")
        self.radius, self.step_size, self.steps = radius, step_size, steps
        self.transform, self.samples = transform, check_count("samples", samples, minimum=1)

    def __call__(self, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Return the tasks' mean loss at the worst images within the radius, averaged over the draws."""
        return torch.stack([self.surrogate_loss(surrogate, images, targets) for _ in range(self.samples)]).mean()

    def surrogate_loss(self, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Return the loss at the worst images for one draw, which the surrogate minimises in its turn."""
        seen = images if self.transform is None else drawn_alike(self.transform, images)
        worst = self._adversary.attack(surrogate, seen, targets)
        # The adversary's change is a constant: the gradient at the worst images is that of the perturbation.
        return surrogate.loss(seen + (worst - seen).detach(), targets)
