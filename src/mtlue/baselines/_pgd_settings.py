"""What determines the result of a search on pixels: only a call with the same may take up one that was interrupted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mtlue._data import Inspection, images_digest, labels_digest
from mtlue._fit.checkpoint import described
from mtlue._losses import SEP, BaseUELoss, Surrogate
from mtlue._tasks import tasks_to_config
from mtlue.baselines._pixel_search import SearchPlan


def search_settings(
    dataset: Dataset[Any],
    inspection: Inspection,
    surrogate: Surrogate,
    loss: BaseUELoss,
    plan: SearchPlan,
    batch_size: int | None,
) -> dict[str, Any]:
    """The settings of a call, as JSON can hold them.

    A surrogate that is trained is told by the shapes of its state: its values are taken from the interrupted call, and may
    have changed in it.
    """
    checkpoints = loss.checkpoints if isinstance(loss, SEP) else []
    states = [checkpoint.state_dict() if isinstance(checkpoint, nn.Module) else checkpoint for checkpoint in checkpoints]
    state = {name: value for name, value in surrogate.module.state_dict().items() if isinstance(value, Tensor)}
    shapes = {name: list(tensor.shape) for name, tensor in state.items()}
    numbers = ("epsilon", "step_size", "steps", "rounds", "surrogate_steps", "learning_rate", "stop_accuracy", "seed")
    return {
        "samples": inspection.length,
        "images": images_digest(dataset),
        "labels": labels_digest(dataset, surrogate.tasks),
        "tasks": json.dumps(tasks_to_config(surrogate.tasks)),
        "surrogate": shapes if loss.trains_surrogate else _digest(state.values()),
        "loss": described(loss),
        "checkpoints": [_digest(state.values()) for state in states],
        "augment": described(plan.augment),
        "batch_size": batch_size,
        "precision": str(plan.precision),
        **{name: getattr(plan, name) for name in numbers},
    }


def _digest(tensors: Iterable[Tensor]) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
        # By bytes: NumPy has no bfloat16.
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
