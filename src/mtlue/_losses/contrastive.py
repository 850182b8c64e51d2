"""Features of a model, and the loss that learns them without labels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlue._data import Batch
from mtlue._losses.heads import Heads, chosen_heads, find_heads
from mtlue._losses.surrogate import Surrogate, borrowed
from mtlue._tasks import read_targets


def head_layers(model: Surrogate, images: Tensor, targets: object, heads: Heads | None) -> list[nn.Module]:
    """Find the last layers of a model, before which its features are. The model does not change.

    Args:
        model: The model.
        images: Some images, of which the first are looked at.
        targets: Their labels.
        heads: Finds the parameters of the heads; None for `find_heads`.

    Raises:
        ValueError: no heads are found.
    """
    with borrowed(model.module, device=images.device, trainable=True), torch.enable_grad():
        if heads is None:
            read = read_targets(targets, model.tasks).to(images.device)
            found = find_heads(model, Batch(images.detach(), read))
        else:
            found = chosen_heads(heads, model.module)
    chosen = {id(parameter) for parameter in found}
    return [
        part for part in model.module.modules() if any(id(parameter) in chosen for parameter in part.parameters(recurse=False))
    ]


def features_before(layers: list[nn.Module], module: nn.Module, images: Tensor) -> list[Tensor]:
    """Return what enters some layers of a module, each (B, F), maps averaged over their pixels; layers may share it."""
    found: list[Tensor] = []
    handles = [layer.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0])) for layer in layers]
    try:
        module(images)
    finally:
        for handle in handles:
            handle.remove()
    distinct = {id(each): each for each in found}.values()
    return [each.flatten(2).mean(dim=2) if each.ndim > 2 else each for each in distinct]


def contrastive_loss(features: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of finding a view's partner by cosine similarity, a scalar (Chen et al., 2020, equation 1).

    Args:
        features: Two views of B images, (2B, F); rows i and B + i belong together.
        temperature: What similarities are divided by.
    """
    unit = F.normalize(features, dim=1)
    similarities = unit @ unit.T / temperature
    # A view is no candidate for itself.
    similarities = similarities.masked_fill(torch.eye(len(unit), dtype=torch.bool, device=unit.device), -torch.inf)
    partners = torch.arange(len(unit), device=unit.device).roll(len(unit) // 2)
    return F.cross_entropy(similarities, partners)
