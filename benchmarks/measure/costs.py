"""The computation of a recipe, counted in multiplications and not in seconds: equal on every machine."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import mtlue

_BATCH = 64
#: A backward pass costs about two forward ones; one that only reaches the images, one.
TRAIN, TO_IMAGES, LOOK = 3, 2, 1


def network_cost(model: nn.Module, shape: tuple[int, ...]) -> float:
    """Multiplications of one image's way forward through a network."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(torch.zeros(_BATCH, *shape, device=next(model.parameters()).device))
    return float(counter.get_total_flops()) / 2 / _BATCH


def generator_cost(generator: mtlue.UEGenerator) -> float:
    """Multiplications of one image's way forward through a generator, in a batch of 64."""
    device = next(generator.parameters()).device
    targets = {name: torch.zeros(_BATCH, dtype=torch.long, device=device) for name in generator.tasks}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        generator.eval()(torch.zeros(_BATCH, *generator.image_shape, device=device), targets)
    return float(counter.get_total_flops()) / 2 / _BATCH
