"""What identifies the training of a victim: only the same training resumes from its checkpoint."""

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
    """Return everything that determines what a victim learns.

    Args:
        module: The model before its first step.
        samples: The data set that it is trained on.
        plan: The settings of the training.
        compute: Where and how it computes.
        batch_size: What to note in place of the plan's batch size if the device decides it.
    """
    own = {"model": model_checksum(module), "tasks": json.dumps(tasks_to_config(samples.tasks)), "batch_size": batch_size}
    return {**samples_settings(samples, compute), **plan.settings(), **compute.settings(), **own}


def samples_settings(samples: Samples, compute: Compute) -> dict[str, Any]:
    """Return what identifies a training set.

    Values that augmentation changes from read to read, whatever the seed, are left out.
    """
    looks = []
    for _ in range(2):
        with compute.random_numbers(Stream.FINGERPRINT):
            looks.append(run_settings(samples, {}))
    return {name: value if value == looks[1][name] else None for name, value in looks[0].items()}


def model_checksum(module: nn.Module) -> str:
    """Return a checksum of how a model is built and of its weights."""
    return checksum(text_digest(f"{described(module)} {tensors_digest(tensors_in(module))}"))
