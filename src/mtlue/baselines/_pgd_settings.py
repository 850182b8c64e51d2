"""What determines the result of a search on pixels: only a call with the same may take up one that was interrupted."""

from __future__ import annotations

import json
from typing import Any

from torch.utils.data import Dataset

from mtlue._data import Inspection, images_digest, labels_digest
from mtlue._fit.surrogate_identity import surrogate_checksums
from mtlue._losses import BaseUELoss, Surrogate
from mtlue._runtime.identity import described
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
    """The settings of a call, as JSON can hold them."""
    numbers = ("epsilon", "step_size", "steps", "rounds", "surrogate_steps", "learning_rate", "stop_accuracy", "seed")
    return {
        "samples": inspection.length,
        "images": images_digest(dataset),
        "labels": labels_digest(dataset, surrogate.tasks),
        "tasks": json.dumps(tasks_to_config(surrogate.tasks)),
        **surrogate_checksums(surrogate, loss),
        "loss": described(loss),
        "augment": described(plan.augment),
        "batch_size": batch_size,
        "precision": str(plan.precision),
        **{name: getattr(plan, name) for name in numbers},
    }
