"""Knowing a surrogate again when an interrupted call goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from mtlue._losses import SEP, BaseUELoss, Surrogate
from mtlue._runtime.identity import tensors_digest


def surrogate_checksums(surrogate: Surrogate, loss: BaseUELoss) -> dict[str, str]:
    """Checksums of the networks that a loss looks at: the surrogate, and for SEP the checkpoints.

    A surrogate that is trained is told by the shapes of its state: its values are taken from the interrupted call, and may
    have changed in it.
    """
    state = _tensors(surrogate.module.state_dict())
    if loss.trains_surrogate:
        shapes = {name: tuple(tensor.shape) for name, tensor in state.items()}
        return {"surrogate": hashlib.sha256(repr(shapes).encode()).hexdigest()}
    checksums = {"surrogate": tensors_digest(state.values())}
    if isinstance(loss, SEP):
        states = [_tensors(each.state_dict() if isinstance(each, nn.Module) else each) for each in loss.checkpoints]
        checksums["checkpoints"] = tensors_digest(tensor for state in states for tensor in state.values())
    return checksums


def _tensors(state: Mapping[str, Any]) -> dict[str, Tensor]:
    # A module may keep other things in its state.
    return {name: value for name, value in state.items() if isinstance(value, Tensor)}
