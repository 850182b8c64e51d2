"""Weights with which rare classes count as much as frequent ones."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mtlue._losses.surrogate import Surrogate
from mtlue._runtime import joint_sum
from mtlue._tasks import CheckedTargets

# A class so rare that its weight would be larger hardly ever comes up, and would then drown the rest of its batch.
_LARGEST = 20.0


class ClassBalance:
    """Counts the labels of each class as batches come in, and weighs classes by the inverse of their share."""

    def __init__(self) -> None:
        self._counts: dict[str, Tensor] = {}

    def update(self, surrogate: Surrogate, targets: CheckedTargets) -> dict[str, Tensor]:
        """Count a batch.

        Returns:
            By task, a weight for each class, (C,): N / (C * n) for a class with n of N labels so far, if C classes came up, and
            20 at most. So weights are 1 on average over the labels. Tasks whose labels are not classes have none.
        """
        found = surrogate.class_counts(targets)
        if found:
            every = joint_sum(torch.cat(list(found.values())))
            found = dict(zip(found, every.split([len(counts) for counts in found.values()]), strict=True))
        for name, counts in found.items():
            self._counts[name] = counts + self._counts.get(name, torch.zeros_like(counts)).to(counts.device)
        return {name: _weights(counts) for name, counts in self._counts.items()}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the counts."""
        return dict(self._counts)

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Go on from counts."""
        self._counts = dict(state)


def _weights(counts: Tensor) -> Tensor:
    found = (counts > 0).sum()
    return (counts.sum() / (found * counts).clamp_min(1)).float().clamp(max=_LARGEST)
