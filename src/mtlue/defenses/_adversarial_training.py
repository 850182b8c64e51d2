"""Adversarial training."""

from __future__ import annotations

from torch import Tensor

from mtlue._losses import Adversary, Surrogate
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
        self._adversary = Adversary(radius, step_size, steps)
        self.radius, self.step_size, self.steps = radius, step_size, steps

    def attack(self, victim: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Return images within the radius at which the victim does badly, (B, C, H, W) in [0, 1].

        The victim does not change.
        """
        return self._adversary.attack(victim, images, targets)

    def losses(self, victim: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of each task on the adversarial images."""
        return victim.losses(self.attack(victim, images, targets), targets)

    def __repr__(self) -> str:
        return f"AdversarialTraining(radius={self.radius:.4g}, step_size={self.step_size:.4g}, steps={self.steps})"
