"""From a trained generator to the 8-bit images that are kept."""

from __future__ import annotations

import torch
from torch import Tensor

import mtlue
from measure.sets import Data

_LEVELS = 8
#: Ways to bring a perturbation to whole levels of 1/255.
NEAREST, TOWARDS_CLEAN, WHOLE_BUDGET = "nearest", "towards the clean image", "whole budget"
STORED = (TOWARDS_CLEAN, NEAREST, WHOLE_BUDGET)


@torch.no_grad()
def stored(generator: mtlue.UEGenerator, data: Data, *, how: str) -> Tensor:
    """Protected images, uint8.

    Args:
        generator: Trained.
        data: What to protect.
        how: One of `STORED`. The whole budget keeps nothing of a perturbation but its signs.
    """
    generator.eval()
    device = next(generator.parameters()).device
    parts = []
    for part in torch.arange(len(data.train)).split(500):
        clean = data.train.pixels[part]
        targets = {name: label[part].to(device) for name, label in data.train.labels.items()}
        levels = 255 * generator(clean.to(device).float() / 255, targets)
        if how == NEAREST:
            levels = levels.round()
        elif how == TOWARDS_CLEAN:
            levels = (levels + 1e-3 * levels.sign()).trunc()
        else:
            levels = _LEVELS * levels.sign()
        levels = levels.clamp(-_LEVELS, _LEVELS).to(torch.int16).cpu()
        parts.append((clean.to(torch.int16) + levels).clamp(0, 255).to(torch.uint8))
    return torch.cat(parts)
