"""What a training sees of its images: shifts, mirror images, other images' content, and JPEG with a gradient."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def moved(images: Tensor, *, flips: bool, pixels: int = 3) -> Tensor:
    """Shift each image by up to some pixels, the border repeated, and mirror half of them. Gradients pass through."""
    count, _, height, width = images.shape
    padded = F.pad(images, [pixels] * 4, mode="replicate")
    rows = torch.arange(height) + torch.randint(2 * pixels + 1, (count, 1))
    columns = torch.arange(width) + torch.randint(2 * pixels + 1, (count, 1))
    if flips:
        columns = torch.where(torch.rand(count, 1) < 0.5, columns.flip(1), columns)
    each = torch.arange(count, device=images.device).reshape(count, 1, 1)
    found = padded.permute(0, 2, 3, 1)[each, rows.to(images.device).unsqueeze(2), columns.to(images.device).unsqueeze(1)]
    return found.permute(0, 3, 1, 2)
