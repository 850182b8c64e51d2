"""Untrained copies of a network."""

from __future__ import annotations

import copy

import torch
from torch import nn


def redrawn(module: nn.Module) -> nn.Module:
    """Return a copy of a module with all parameters drawn anew and trainable. The module itself does not change.

    The ``reset_parameters`` of the module and of its parts draw them.

    Raises:
        ValueError: no ``reset_parameters`` draws some of the parameters.
    """
    made = copy.deepcopy(module).requires_grad_(True)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.fill_(torch.nan)
        # Parts come before the module that contains them, which may override them.
        for part in reversed(list(made.modules())):
            # The name of the method is private in attention.
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
