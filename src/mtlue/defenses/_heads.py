"""The last layers of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from mtlue._data import Batch
from mtlue._losses import Surrogate

Heads = Callable[[nn.Module], Iterable[nn.Parameter]]


def chosen_heads(heads: Heads, module: nn.Module) -> list[nn.Parameter]:
    """What the caller's function finds in a model.

    Raises:
        ValueError: that is nothing, or is not in the model.
    """
    found = list(heads(module))
    own = {id(parameter) for parameter in module.parameters()}
    if not found:
        raise ValueError(f"heads: expected parameters of the model, got none of {type(module).__name__}")
    if any(id(parameter) not in own for parameter in found):
        raise ValueError(f"heads: expected parameters of the model, got some that {type(module).__name__} does not have")
    return found


def find_heads(victim: Surrogate, batch: Batch) -> list[nn.Parameter]:
    """The heads of a model that nobody named.

    They are the last layers of what the module's attribute ``heads`` holds if it has one: a head for maps may be a decoder of
    many layers. If that is a module of a kind of its own, which may hold the heads of several tasks, they are all of it. Else
    they are the parameters through which the loss of one task alone flows; else those of the last linear layer or convolution
    of the model. What is last is said by the order in which a module holds its parts.

    Args:
        victim: The model. Its parameters are left with ``requires_grad``.
        batch: Some samples, of which the first are looked at.

    Raises:
        ValueError: there is none of these.
    """
    module = victim.module
    named = getattr(module, "heads", None)
    if isinstance(named, nn.Module) and any(True for _ in named.parameters()):
        # Of a module that nothing is known of, one layer may be that of one task of several.
        known = isinstance(named, nn.ModuleList | nn.ModuleDict | nn.Sequential)
        return _of_last_layers(named) if known else list(named.parameters())
    if len(victim.tasks) > 1:
        exclusive = _of_one_task(victim, batch[:2])
        if exclusive:
            return exclusive
    last = _of_last_layer(module)
    if not last:
        raise ValueError(
            f"heads: found no last layer in {type(module).__name__}; give a function from the model to its parameters"
        )
    return last


def _of_last_layers(heads: nn.Module) -> list[nn.Parameter]:
    """Those of the last layer of each part of what holds several, side by side."""
    if isinstance(heads, nn.ModuleList | nn.ModuleDict):
        return [parameter for part in heads.children() for parameter in _of_last_layers(part)]
    return _of_last_layer(heads) or list(heads.parameters())


def _of_last_layer(module: nn.Module) -> list[nn.Parameter]:
    layers = [part for part in module.modules() if isinstance(part, nn.Linear | nn.Conv2d)]
    return list(layers[-1].parameters()) if layers else []


def _of_one_task(victim: Surrogate, batch: Batch) -> list[nn.Parameter]:
    parameters = list(victim.module.parameters())
    for parameter in parameters:
        parameter.requires_grad_()
    users = [0] * len(parameters)
    for loss in victim.losses(batch.images, batch.targets).values():
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        users = [count + (gradient is not None) for count, gradient in zip(users, gradients, strict=True)]
    return [parameter for parameter, count in zip(parameters, users, strict=True) if count == 1]
