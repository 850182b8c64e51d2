"""Adversarial training."""

from __future__ import annotations

import torch
from torch import Tensor

from mtlue._checks import check_count, check_number
from mtlue._losses import Surrogate, borrowed
from mtlue._tasks import read_targets
from mtlue.defenses._defense import Defense


class AdversarialTraining(Defense):
    """Train on the worst images within a radius of the given ones (Madry et al., 2018).

    Uses projected gradient descent in l-infinity: from a random point within the radius, it steps along the sign of the
    gradient of the tasks' summed losses. The search can undo a perturbation smaller than the radius, so a model gains nothing
    by relying on it (Tao et al., 2021).

    Args:
        radius: Largest change of a pixel, on the scale of [0, 1].
        step_size: Change of a pixel in a step.
        steps: Number of steps.

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of range.

    Example:
        >>> import torch, mtlue
        >>> from mtlue.defenses import AdversarialTraining
        >>> victim = mtlue.Surrogate(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)), {"young": 2})
        >>> images, targets = torch.rand(4, 3, 2, 2), {"young": torch.tensor([0, 1, 1, 0])}
        >>> defense = AdversarialTraining(radius=4 / 255)
        >>> bool((defense.attack(victim, images, targets) - images).abs().max() <= 4 / 255 + 1e-6)
        True
        >>> list(defense.losses(victim, images, targets))
        ['young']
    """

    def __init__(self, *, radius: float = 8 / 255, step_size: float = 2 / 255, steps: int = 10) -> None:
        self.radius = check_number("radius", radius, above=0)
        if self.radius > 1:
            raise ValueError(f"radius: expected 0 < radius <= 1, got {radius}; images are in [0, 1]")
        self.step_size = check_number("step_size", step_size, above=0)
        self.steps = check_count("steps", steps, minimum=1)

    def attack(self, victim: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Return images within the radius at which the victim does badly, (B, C, H, W) in [0, 1].

        The victim does not change.
        """
        clean = images.detach()
        low, high = (clean - self.radius).clamp_min(0.0), (clean + self.radius).clamp_max(1.0)
        read = read_targets(targets, victim.tasks).to(images.device)
        adversarial = clean + self.radius * (2.0 * torch.rand_like(clean) - 1.0)
        adversarial = torch.clamp(adversarial, low, high)
        # In eval mode, so that batch normalisation collects the statistics of the training images only.
        with borrowed(victim.module, device=images.device, trainable=False), torch.enable_grad():
            for _ in range(self.steps):
                adversarial.requires_grad_()
                loss = torch.stack(list(victim.losses(adversarial, read).values())).sum()
                (gradient,) = torch.autograd.grad(loss, adversarial)
                adversarial = torch.clamp(adversarial.detach() + self.step_size * gradient.sign(), low, high)
        return adversarial

    def losses(self, victim: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of each task on the adversarial images."""
        return victim.losses(self.attack(victim, images, targets), targets)

    def __repr__(self) -> str:
        return f"AdversarialTraining(radius={self.radius:.4g}, step_size={self.step_size:.4g}, steps={self.steps})"
