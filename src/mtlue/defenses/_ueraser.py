"""Train on the worst of several augmentations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue._checks import check_count
from mtlue._losses import Surrogate, borrowed
from mtlue._tasks import Task, read_targets
from mtlue.defenses._defense import Defense
from mtlue.defenses._strong_augmentation import trivial_augment


class UEraser(Defense):
    """Train on the worst of several random augmentations of each image (Qin et al., 2023).

    Each image is augmented ``count`` times, and the version with the largest summed task loss is used for training. The
    augmentations change brightness and contrast smoothly over the image, and the order of the channels. If all labels are of
    the whole image, TrivialAugment is added, as in the paper. It would move pixels away from the labels of a map.

    Args:
        count: Number of augmentations to choose from.

    Raises:
        TypeError: ``count`` is not an integer.
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
        """Return one random augmentation of images in [0, 1], (B, C, H, W)."""
        return plasma(images)

    def _candidate(self, victim: Surrogate, images: Tensor) -> Tensor:
        changed = self.augment(images.detach())
        movable = not any(task.is_map for task in victim.tasks.values()) and images.shape[1] in {1, 3} and len(images)
        return trivial_augment(changed) if movable else changed

    def worst(self, victim: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Return the augmentation with the largest loss for each image, (B, C, H, W). The victim does not change."""
        read = read_targets(targets, victim.tasks).to(images.device)
        chosen = self._candidate(victim, images)
        if self.count == 1:
            return chosen
        # In eval mode, so that batch normalisation collects the statistics of the training images only. Frozen, because the
        # autocast of older torch keeps copies of weights made without gradient, and would train with them afterwards.
        with borrowed(victim.module, device=images.device, trainable=False), torch.no_grad():
            largest = sample_losses(victim, chosen, read)
            for _ in range(self.count - 1):
                candidate = self._candidate(victim, images)
                losses = sample_losses(victim, candidate, read)
                chosen = torch.where((losses > largest)[:, None, None, None], candidate, chosen)
                largest = torch.maximum(losses, largest)
        return chosen

    def losses(self, victim: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of each task on the worst augmentations."""
        return victim.losses(self.worst(victim, images, targets), targets)

    def __repr__(self) -> str:
        return f"UEraser(count={self.count})"


def plasma(images: Tensor) -> Tensor:
    """Change brightness, contrast and channels of images (B, C, H, W) in [0, 1] at random. Pixels do not move.

    A simple equivalent of the augmentations of Qin et al. (2023). Each of these changes every second image, at random: a smooth
    random field is added, at a strength drawn uniformly from [0, 1]; the distance from mid-grey is multiplied by another field,
    with values from 0 to 4; the channels are permuted.
    """
    batch, channels = images.shape[:2]
    strength = torch.rand(batch, 1, 1, 1, device=images.device)
    brighter = (images + strength * (2.0 * smooth_field(images) - 1.0)).clamp(0.0, 1.0)
    brighter = torch.where(_every_second(images), brighter, images)
    stretched = (0.5 + 4.0 * smooth_field(images) * (brighter - 0.5)).clamp(0.0, 1.0)
    stretched = torch.where(_every_second(images), stretched, brighter)
    order = torch.rand(batch, channels, device=images.device).argsort(dim=1)
    order = torch.where(_every_second(images)[:, 0, 0], order, torch.arange(channels, device=images.device))
    return stretched.gather(1, order[:, :, None, None].expand_as(stretched))


def _every_second(images: Tensor) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, device=images.device) < 0.5


def smooth_field(images: Tensor) -> Tensor:
    """Return a random field for each image, (B, 1, H, W), with values from 0 to 1.

    It is a sum of noise on ever finer grids. Each grid counts less than the coarser one by the field's roughness, drawn
    uniformly between 0.1 and 0.7, as in the paper's plasma fractals.
    """
    batch, _, height, width = images.shape
    low, high = 0.1, 0.7
    roughness = low + (high - low) * torch.rand(batch, 1, 1, 1, device=images.device)
    field = torch.zeros(batch, 1, height, width, device=images.device)
    weight, cells = torch.ones_like(roughness), 2
    while True:
        grid = torch.rand(batch, 1, min(cells, height), min(cells, width), device=images.device)
        field = field + weight * F.interpolate(grid, size=(height, width), mode="bilinear", align_corners=True)
        if cells >= max(height, width):
            break
        weight, cells = weight * roughness, 2 * cells
    floor = field.amin(dim=(2, 3), keepdim=True)
    return (field - floor) / (field.amax(dim=(2, 3), keepdim=True) - floor).clamp_min(1e-12)


def sample_losses(victim: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
    """Return the tasks' summed loss of each image (B, C, H, W) as if it were alone in the batch, shape (B,)."""
    outputs, read = victim(images), read_targets(targets, victim.tasks).to(images.device)
    total = torch.zeros(len(images), device=images.device)
    for name, task in victim.tasks.items():
        total = total + _of_task(task, outputs[name].float(), read[name])
    return total


def _of_task(task: Task, outputs: Tensor, targets: Tensor) -> Tensor:
    def alone(output: Tensor, target: Tensor) -> Tensor:
        return task.loss(output.unsqueeze(0), target.unsqueeze(0))

    try:
        return torch.func.vmap(alone)(outputs, targets)
    except RuntimeError:
        # The loss of a user's own task may select pixels or branch on values, which vmap cannot follow.
        return torch.stack([alone(output, target) for output, target in zip(outputs, targets, strict=True)])
