"""CutMix."""

from __future__ import annotations

import torch
from torch import Tensor

from mtlue._checks import check_number
from mtlue._losses import Surrogate
from mtlue._tasks import read_targets
from mtlue.defenses._defense import Defense


class CutMix(Defense):
    """Train on images with a box of another image, and with the labels of both by area (Yun et al., 2019).

    For each batch, a share s is drawn from Beta(alpha, alpha). A box with 1 - s of the image's area is put at a random place
    and cut at the edges (ICCV 2019, section 3.1). In it, each image shows another sample (x', y') of the batch. If a is the
    share of the image outside the box, the loss of a task is a loss(y) + (1 - a) loss(y'). Label maps are cut like the images,
    so that each pixel keeps its own label.

    Args:
        alpha: Both parameters of the beta distribution; 1, as in the paper, makes it uniform.

    Raises:
        TypeError: ``alpha`` is not a number.
        ValueError: ``alpha`` is not positive.

    Example:
        >>> import torch, mtlue
        >>> from mtlue.defenses import CutMix
        >>> victim = mtlue.Surrogate(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2)), {"young": 2})
        >>> list(CutMix().losses(victim, torch.rand(4, 3, 2, 2), {"young": torch.tensor([0, 1, 1, 0])}))
        ['young']
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = check_number("alpha", alpha, above=0)

    def losses(self, victim: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of each task on the mixtures."""
        share = float(torch.distributions.Beta(self.alpha, self.alpha).sample())
        box = random_box(images.shape[-2], images.shape[-1], 1.0 - share).to(images.device)
        partners = torch.randperm(len(images), device=images.device)
        outputs = victim(torch.where(box, images[partners], images))
        read = read_targets(targets, victim.tasks).to(images.device)
        pasted = float(box.float().mean())
        losses = {}
        for name, task in victim.tasks.items():
            own, other = read[name], read[name][partners]
            if task.is_map:
                losses[name] = task.loss(outputs[name], torch.where(box, other, own))
            else:
                losses[name] = (1.0 - pasted) * task.loss(outputs[name], own) + pasted * task.loss(outputs[name], other)
        return losses

    def __repr__(self) -> str:
        return f"CutMix(alpha={self.alpha:g})"


def random_box(height: int, width: int, area: float) -> Tensor:
    """Draw where a box lies, booleans (H, W): its sides are the image's times the root of ``area``, its centre is any pixel."""
    rows, columns = round(height * area**0.5), round(width * area**0.5)
    top = int(torch.randint(height, (), device="cpu")) - rows // 2
    left = int(torch.randint(width, (), device="cpu")) - columns // 2
    box = torch.zeros(height, width, dtype=torch.bool)
    box[max(top, 0) : max(top + rows, 0), max(left, 0) : max(left + columns, 0)] = True
    return box
