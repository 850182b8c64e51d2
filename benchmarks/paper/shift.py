"""The augmentation of the small scale."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def random_shift(images: Tensor, pixels: int = 3) -> Tensor:
    """Move each image by up to some pixels; the border is repeated. Gradients pass through."""
    count, channels, height, width = images.shape
    padded = F.pad(images, [pixels] * 4, mode="replicate")
    rows = torch.arange(height) + torch.randint(2 * pixels + 1, (count, 1))
    columns = torch.arange(width) + torch.randint(2 * pixels + 1, (count, 1))
    sample, channel = torch.arange(count).reshape(-1, 1, 1, 1), torch.arange(channels).reshape(1, -1, 1, 1)
    return padded[sample, channel, rows.reshape(count, 1, height, 1), columns.reshape(count, 1, 1, width)]
