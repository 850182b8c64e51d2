"""A network like another one that has learned nothing yet."""

from __future__ import annotations

import copy

import torch
from torch import nn


def redrawn(module: nn.Module) -> nn.Module:
    """A copy of a module, all of whose parameters are drawn anew and trainable; the module itself stays as it is.

    What draws them is the ``reset_parameters`` of the module and of its parts.

    Raises:
        ValueError: none of these draws some of the parameters.
    """
    made = copy.deepcopy(module).requires_grad_(True)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.fill_(torch.nan)
        # A part comes before what it is a part of, which may have a say of its own.
        for part in reversed(list(made.modules())):
            # Attention has it under a private name.
            reset = getattr(part, "reset_parameters", None) or getattr(part, "_reset_parameters", None)
            if callable(reset):
                reset()
        left = [name for name, parameter in made.named_parameters() if bool(parameter.isnan().any())]
    if left:
        owner = type(made.get_submodule(left[0].rpartition(".")[0])).__name__
        raise ValueError(
            f"surrogate: {owner} has no reset_parameters that draws {left[0]!r} anew; add one, or pass the loss make=, a "
            "function that makes a new network from a seed"
        )
    return made
