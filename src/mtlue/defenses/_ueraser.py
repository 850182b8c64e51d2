"""Training on the worst of several augmentations."""

from __future__ import annotations

import torch
from torch import Tensor

from mtlue._checks import check_count
from mtlue._losses import Surrogate, borrowed
from mtlue._tasks import read_targets
from mtlue.defenses._defense import Defense
from mtlue.defenses._plasma import plasma
from mtlue.defenses._sample_losses import sample_losses
from mtlue.defenses._trivial_augment import trivial_augment


class UEraser(Defense):
    """Train on the worst of several random augmentations of each image (Qin et al., 2023).

    Each image is augmented ``count`` times; what is trained on is the one whose summed task loss is the largest. The
    augmentations change brightness and contrast smoothly over the image, and the order of the channels. Where every label is
    one of the whole image, TrivialAugment comes on top, as in the paper; it would move pixels away from the labels of a map.

    Args:
        count: Number of augmentations to choose from.

    Raises:
        TypeError: ``count`` is no integer.
        ValueError: ``count`` is below one.

    Example:
        >>> import torch, mtlue
        >>> from mtlue.defenses import UEraser
        >>> victim = mtlue.Surrogate(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)), {"young": 2})
        >>> list(UEraser(count=2).losses(victim, torch.rand(4, 3, 2, 2), {"young": torch.tensor([0, 1, 1, 0])}))
        ['young']
    """

    def __init__(self, *, count: int = 5) -> None:
        self.count = check_count("count", count, minimum=1)

    def augment(self, images: Tensor) -> Tensor:
        """One random augmentation of images in [0, 1], (B, C, H, W)."""
        return plasma(images)

    def _candidate(self, victim: Surrogate, images: Tensor) -> Tensor:
        changed = self.augment(images.detach())
        movable = not any(task.is_map for task in victim.tasks.values()) and images.shape[1] in {1, 3} and len(images)
        return trivial_augment(changed) if movable else changed

    def worst(self, victim: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """For each image the augmentation with the largest loss, (B, C, H, W); the victim is left as it was."""
        read = read_targets(targets, victim.tasks).to(images.device)
        chosen = self._candidate(victim, images)
        if self.count == 1:
            return chosen
        # In eval mode: the statistics of batch normalisation are to be those of the images that are trained on. Frozen too:
        # the autocast of older torch keeps copies of weights made without gradient, and would train with them afterwards.
        with borrowed(victim.module, device=images.device, trainable=False), torch.no_grad():
            largest = sample_losses(victim, chosen, read)
            for _ in range(self.count - 1):
                candidate = self._candidate(victim, images)
                losses = sample_losses(victim, candidate, read)
                chosen = torch.where((losses > largest)[:, None, None, None], candidate, chosen)
                largest = torch.maximum(losses, largest)
        return chosen

    def losses(self, victim: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """The loss of each task on the worst augmentations."""
        return victim.losses(self.worst(victim, images, targets), targets)

    def __repr__(self) -> str:
        """The call that makes it."""
        return f"UEraser(count={self.count})"
