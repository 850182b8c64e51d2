"""Weights with which rare classes count as much as frequent ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mtlue._losses.surrogate import Surrogate
from mtlue._runtime import joint_sum, sent
from mtlue._tasks import CheckedTargets

# A class so rare that its weight would be larger hardly ever comes up, and would then drown the rest of its batch.
_LARGEST = 20.0


class ClassBalance:
    """Counts the labels of each class as batches come in, and weighs classes by the inverse of their share."""

    def __init__(self) -> None:
        # Of all classes of all tasks, one after the other: some operations for all, in place of some for each task.
        self._counts: Tensor | None = None

    def update(self, surrogate: Surrogate, targets: CheckedTargets) -> dict[str, Tensor]:
        """Count a batch.

        Returns:
            By task, a weight for each class, (C,): N / (C * n) for a class with n of N labels so far, if C classes came up, and
            20 at most. So weights are 1 on average over the labels. Tasks whose labels are not classes have none.
        """
        found = surrogate.class_counts(targets)
        if not found:
            return {}
        sizes = [len(counts) for counts in found.values()]
        counts = joint_sum(torch.cat(list(found.values())))
        self._counts = counts if self._counts is None else counts + self._counts.to(counts.device)
        task = sent(torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)), counts.device)
        return dict(zip(found, _weights(self._counts, task, len(sizes)).split(sizes), strict=True))

    def state_dict(self) -> dict[str, Tensor]:
        """Return the counts."""
        return {} if self._counts is None else {"counts": self._counts}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from counts."""
        self._counts = state.get("counts")


def _weights(counts: Tensor, task: Tensor, tasks: int) -> Tensor:
    """Weights from counts, both (classes of all tasks,), where ``task`` says to which one each class belongs."""
    labels, classes = (counts.new_zeros(tasks).index_add_(0, task, each)[task] for each in (counts, (counts > 0).long()))
    return (labels / (classes * counts).clamp_min(1)).float().clamp(max=_LARGEST)
