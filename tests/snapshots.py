"""The whole state of a module, to be compared with what it is later."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def snapshot(module: nn.Module) -> list[Any]:
    flags = [(part.training, type(part)) for part in module.modules()]
    states = [(p.requires_grad, p.device, None if p.grad is None else p.grad.clone()) for p in module.parameters()]
    values = {name: value.clone() for name, value in module.state_dict().items()}
    return [flags, states, values, [id(p) for p in module.parameters()], [id(p.grad) for p in module.parameters()]]


def equal(left: Any, right: Any) -> bool:
    if isinstance(left, Tensor):
        return isinstance(right, Tensor) and torch.equal(left, right)
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(equal(left[name], right[name]) for name in left)
    if isinstance(left, list | tuple):
        return len(left) == len(right) and all(equal(*pair) for pair in zip(left, right, strict=True))
    return bool(left == right)
