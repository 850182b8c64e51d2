"""The search for images within a radius at which a model is bad."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mtlue._checks import check_count, check_number
from mtlue._losses.surrogate import Surrogate, borrowed
from mtlue._runtime import drawn_alike
from mtlue._tasks import read_targets


@dataclass(frozen=True)
class Adversary:
    """Projected gradient ascent on the tasks' summed losses, in l-infinity, from a random point (Madry et al., 2018).

    Attributes:
        radius: Largest change of a pixel, on the scale of [0, 1].
        step_size: Change of a pixel in a step.
        steps: Number of steps.

    Raises:
        TypeError: one is not a number.
        ValueError: one is out of range.
    """

    radius: float
    step_size: float
    steps: int

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: the radius is out of range.
        """
        check_number("radius", self.radius, above=0)
        if self.radius > 1:
            raise ValueError(f"radius: expected 0 < radius <= 1, got {self.radius}; images are in [0, 1]")
        check_number("step_size", self.step_size, above=0)
        check_count("steps", self.steps, minimum=1)

    def attack(self, model: Surrogate, images: Tensor, targets: object) -> Tensor:
        """Return images within the radius at which the model does badly, (B, C, H, W) in [0, 1].

        The model does not change.
        """
        clean = images.detach()
        low, high = (clean - self.radius).clamp_min(0.0), (clean + self.radius).clamp_max(1.0)
        read = read_targets(targets, model.tasks).to(images.device)
        adversarial = clean + self.radius * (2.0 * drawn_alike(torch.rand_like, clean) - 1.0)
        adversarial = torch.clamp(adversarial, low, high)
        # In eval mode, so that batch normalisation collects the statistics of the training images only.
        with borrowed(model.module, device=images.device, trainable=False), torch.enable_grad():
            for _ in range(self.steps):
                adversarial.requires_grad_()
                loss = torch.stack(list(model.losses(adversarial, read).values())).sum()
                (gradient,) = torch.autograd.grad(loss, adversarial)
                adversarial = torch.clamp(adversarial.detach() + self.step_size * gradient.sign(), low, high)
        return adversarial
