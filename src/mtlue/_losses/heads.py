"""The last layers of a model."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import nn

from mtlue._data import Batch
from mtlue._losses.surrogate import Surrogate

Heads = Callable[[nn.Module], Iterable[nn.Parameter]]


def chosen_heads(heads: Heads, module: nn.Module) -> list[nn.Parameter]:
    """Return what the caller's function finds in a model.

    Raises:
        ValueError: it finds nothing, or something outside the model.
    """
    found = list(heads(module))
    own = {id(parameter) for parameter in module.parameters()}
    if not found:
        raise ValueError(f"heads: expected parameters of the model, got none of {type(module).__name__}")
    if any(id(parameter) not in own for parameter in found):
        raise ValueError(f"heads: expected parameters of the model, got some that {type(module).__name__} does not have")
    return found


def find_heads(victim: Surrogate, batch: Batch) -> list[nn.Parameter]:
    """Find the heads of a model when the caller does not name them.

    If the module has an attribute ``heads``, they are the last layer of each module in it, because a head for maps may be a
    decoder of many layers. If that attribute is a single module of its own kind, which may hold the heads of several tasks,
    they are all of it. Otherwise they are the parameters that affect the loss of one task only, or else those of the model's
    last linear layer or convolution. The order in which a module holds its parts says which is last.

    Args:
        victim: The model. Its parameters keep ``requires_grad``.
        batch: Some samples, of which only the first are used.

    Raises:
        ValueError: the model has none of these.
    """
    module = victim.module
    named = getattr(module, "heads", None)
    if isinstance(named, nn.Module) and any(True for _ in named.parameters()):
        # In an unknown module, a single layer may belong to one of several tasks.
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
    """Return the parameters of the last layer of each part of a container."""
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
