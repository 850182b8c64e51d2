"""A random view of each image, for contrastive training."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# As in appendices A and B.9 of SimCLR, without blur (which they leave out for small images) and without shifts of the hue.
_LEAST_AREA, _WIDEST = 0.2, 4 / 3
_STRENGTH, _JITTERED, _GREY = 0.4, 0.8, 0.2
_LUMA = (0.299, 0.587, 0.114)


def contrastive_view(images: Tensor) -> Tensor:
    """Draw a view of each image of (B, C, H, W) in [0, 1]: a part of it at its size, perhaps mirrored, in other colours.

    A part has 20 to 100 % of the area. In four of five images brightness, contrast and, of three channels, saturation change
    by up to 40 %; one of five images with three channels becomes grey.
    """
    return _recoloured(_cropped(images)).clamp(0.0, 1.0)


def _cropped(images: Tensor) -> Tensor:
    batch = len(images)
    area = _LEAST_AREA + (1 - _LEAST_AREA) * torch.rand(batch, device=images.device)
    stretch = _WIDEST ** (torch.rand(batch, device=images.device) - 0.5)
    # Half the sides of the part, on the scale on which the image reaches from -1 to 1.
    wide, high = (area.sqrt() * stretch).clamp_max(1.0), (area.sqrt() / stretch).clamp_max(1.0)
    across, down = ((1 - side) * (2 * torch.rand(batch, device=images.device) - 1) for side in (wide, high))
    mirror = 1.0 - 2.0 * (torch.rand(batch, device=images.device) < 0.5)
    nothing = torch.zeros_like(wide)
    rows = torch.stack([wide * mirror, nothing, across, nothing, high, down], dim=1).view(batch, 2, 3)
    grid = F.affine_grid(rows.to(images.dtype), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _recoloured(images: Tensor) -> Tensor:
    changed = images * _factor(images)
    changed = torch.lerp(changed.mean(dim=(1, 2, 3), keepdim=True).expand_as(changed), changed, _factor(images))
    if images.shape[1] == 3:
        luma = torch.tensor(_LUMA, device=images.device, dtype=images.dtype).view(1, 3, 1, 1)
        grey = (changed * luma).sum(dim=1, keepdim=True).expand_as(changed)
        changed = torch.lerp(grey, changed, _factor(images))
        grey = (changed * luma).sum(dim=1, keepdim=True).expand_as(changed)
        changed = torch.where(_some(images, _GREY), grey, changed)
    return torch.where(_some(images, _JITTERED), changed, images)


def _factor(images: Tensor) -> Tensor:
    """Draw a factor for each image, (B, 1, 1, 1), of the strength of the jitter."""
    return 1 + _STRENGTH * (2 * torch.rand(len(images), 1, 1, 1, device=images.device, dtype=images.dtype) - 1)


def _some(images: Tensor, share: float) -> Tensor:
    """Draw a share of the images, booleans (B, 1, 1, 1)."""
    return torch.rand(len(images), 1, 1, 1, device=images.device) < share
