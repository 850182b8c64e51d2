"""What the best answer that ignores the image reaches on a test set."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue._data import Samples, ordered_batches
from mtlue._runtime.compute import Compute
from mtlue._tasks import Classification, Depth, Segmentation, SurfaceNormals, Task
from mtlue.evaluation._metrics import headline, metrics_for

# Small, for what label maps take.
_BATCH = 16
# Bins of floats by sign, exponent and the first eleven bits of the fraction: a bin is 1/2048 wide, relative to its value.
_DROPPED_BITS, _BINS = 12, 2**20


def measure_chance(samples: Samples, compute: Compute) -> dict[str, float]:
    """The headline metric of each task that has one, for the best constant answer on a data set.

    For classification it is one over the number of classes, whatever the set. Elsewhere the set is read twice: for the
    constant, and to measure it as a model is measured. The constant of segmentation is the commonest class, of depth the
    median of all readings (to 1/2048 of it, since they are counted in bins), of surface normals the mean direction: the best by
    the cosine, which is their loss, and near the best by the angle, which is their metric.
    """
    tasks = samples.tasks
    chance = {name: 1.0 / task.num_classes for name, task in tasks.items() if isinstance(task, Classification)}
    constants = {name: found for name, task in tasks.items() if (found := _constant_of(task)) is not None}
    if not constants:
        return chance

    here = Compute(torch.device("cpu"), num_workers=compute.num_workers)

    def targets() -> Iterator[dict[str, Tensor]]:
        for batch in ordered_batches(samples, range(len(samples)), batch_size=_BATCH, compute=here):
            yield batch.targets

    for read in targets():
        for name, constant in constants.items():
            constant.update(read[name])
    answers = {name: constant.answer().reshape(1, -1, 1, 1) for name, constant in constants.items()}
    metrics = {name: metrics_for(tasks[name]) for name in constants}
    for read in targets():
        for name, answer in answers.items():
            height, width = read[name].shape[-2:]
            metrics[name].update(answer.expand(len(read[name]), -1, height, width), read[name])
    for name, measured in metrics.items():
        counted = headline(tasks[name])
        chance[name] = math.nan if counted is None else measured.compute()[counted.metric]
    return {name: chance[name] for name in tasks if name in chance}


class _Constant(ABC):
    """The best answer of a task that ignores the image."""

    @abstractmethod
    def update(self, target: Tensor) -> None:
        """Look at a batch of labels."""

    @abstractmethod
    def answer(self) -> Tensor:
        """The answer for a pixel, (C,), as a model gives it."""


class _CommonestClass(_Constant):
    def __init__(self, task: Segmentation) -> None:
        self._ignored = task.ignore_index
        self._counts = torch.zeros(task.num_classes, dtype=torch.long)

    def update(self, target: Tensor) -> None:
        self._counts += target[target != self._ignored].bincount(minlength=len(self._counts))

    def answer(self) -> Tensor:
        return F.one_hot(self._counts.argmax(), len(self._counts)).float()


class _MedianReading(_Constant):
    def __init__(self) -> None:
        self._counts = torch.zeros(_BINS, dtype=torch.long)
        self._sums = torch.zeros(_BINS, dtype=torch.double)

    def update(self, target: Tensor) -> None:
        readings = target[target != 0]
        bins = (readings.view(torch.int32) >> _DROPPED_BITS) + _BINS // 2
        self._counts += bins.bincount(minlength=_BINS)
        self._sums += bins.bincount(weights=readings.double(), minlength=_BINS)

    def answer(self) -> Tensor:
        filled = self._counts > 0
        if not bool(filled.any()):
            return torch.zeros(1)
        means, order = (self._sums[filled] / self._counts[filled]).sort()
        reached = self._counts[filled][order].cumsum(dim=0)
        return means[torch.searchsorted(reached, (reached[-1:] + 1) // 2)].float()


class _MeanDirection(_Constant):
    def __init__(self) -> None:
        self._total = torch.zeros(3, dtype=torch.double)

    def update(self, target: Tensor) -> None:
        self._total += F.normalize(target.double(), dim=1).sum(dim=(0, 2, 3))

    def answer(self) -> Tensor:
        return F.normalize(self._total, dim=0).float()


def _constant_of(task: Task) -> _Constant | None:
    if isinstance(task, Segmentation):
        return _CommonestClass(task)
    if isinstance(task, Depth):
        return _MedianReading()
    return _MeanDirection() if isinstance(task, SurfaceNormals) else None
