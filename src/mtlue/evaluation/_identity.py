"""By what the training of a victim is known again: only the same one takes up its checkpoint."""

from __future__ import annotations

import json
from typing import Any

from torch import nn

from mtlue._data import Samples, run_settings
from mtlue._runtime import Compute, Stream, checksum, described, tensors_digest, tensors_in, text_digest
from mtlue._tasks import tasks_to_config
from mtlue.evaluation._victim_training import VictimPlan


def victim_settings(
    module: nn.Module, samples: Samples, plan: VictimPlan, compute: Compute, *, batch_size: int
) -> dict[str, Any]:
    """What determines a victim.

    Args:
        module: The model before its first step.
        samples: What it is trained on.
        plan: How.
        compute: Where and how it is computed.
        batch_size: What stands for that of the plan where the device decides.
    """
    own = {"model": model_checksum(module), "tasks": json.dumps(tasks_to_config(samples.tasks)), "batch_size": batch_size}
    return {**samples_settings(samples, compute), **plan.settings(), **compute.settings(), **own}


def samples_settings(samples: Samples, compute: Compute) -> dict[str, Any]:
    """What a set to train on is known by. It may augment: what changes from read to read, whatever the seed, says nothing."""
    looks = []
    for _ in range(2):
        with compute.random_numbers(Stream.FINGERPRINT):
            looks.append(run_settings(samples, {}))
    return {name: value if value == looks[1][name] else None for name, value in looks[0].items()}


def model_checksum(module: nn.Module) -> str:
    """Checksum of a model: how it is built, and its weights."""
    return checksum(text_digest(f"{described(module)} {tensors_digest(tensors_in(module))}"))
