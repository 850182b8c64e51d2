"""Mixup."""

from __future__ import annotations

import torch
from torch import Tensor

from mtlue._checks import check_number
from mtlue._losses import Surrogate
from mtlue._tasks import read_targets
from mtlue.defenses._defense import Defense


class Mixup(Defense):
    """Train on mixtures of two images with the labels of both (Zhang et al., 2018).

    A share s is drawn from Beta(alpha, alpha) for each batch. The image becomes s x + (1 - s) x', and the loss of a task
    becomes s loss(y) + (1 - s) loss(y'), where (x', y') is another sample of the batch. Labels themselves are never mixed, so
    any kind of task works. With label maps, each pixel has to answer both of its labels.

    Args:
        alpha: Both parameters of the beta distribution. 1 makes it uniform.

    Raises:
        TypeError: ``alpha`` is not a number.
        ValueError: ``alpha`` is not positive.

    Example:
        >>> import torch, mtlue
        >>> from mtlue.defenses import Mixup
        >>> victim = mtlue.Surrogate(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)), {"young": 2})
        >>> list(Mixup(alpha=0.4).losses(victim, torch.rand(4, 3, 2, 2), {"young": torch.tensor([0, 1, 1, 0])}))
        ['young']
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = check_number("alpha", alpha, above=0)

    def losses(self, victim: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of each task on the mixtures."""
        share = float(torch.distributions.Beta(self.alpha, self.alpha).sample())
        partners = torch.randperm(len(images), device=images.device)
        outputs = victim(torch.lerp(images[partners], images, share))
        read = read_targets(targets, victim.tasks).to(images.device)
        return {
            name: share * task.loss(outputs[name], read[name]) + (1.0 - share) * task.loss(outputs[name], read[name][partners])
            for name, task in victim.tasks.items()
        }

    def __repr__(self) -> str:
        return f"Mixup(alpha={self.alpha:g})"
