"""What the best answer that ignores the image reaches on a test set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from mtlue._data import Samples, ordered_batches
from mtlue._runtime import Compute
from mtlue._tasks import Task
from mtlue.evaluation._metrics import best_constant_for, headlines_of, known_chance, metrics_for, value_of

# Small, because a batch of label maps takes much memory.
_BATCH = 16


def measure_chance(samples: Samples, compute: Compute) -> dict[str, float]:
    """Measure the best constant answer on a data set: the headline metric of each task that has one.

    Some metrics have a chance that is known without data. For the others the set is read twice: once to find the constant, and
    once to measure it as a model is measured. A kind of task without a registered constant is left out.
    """
    tasks = samples.tasks
    headlines = headlines_of(tasks)
    chance = known_chance(headlines)
    constants = {
        name: constant for name in headlines if name not in chance and (constant := best_constant_for(tasks[name])) is not None
    }
    if not constants:
        return chance

    here = replace(compute, device=torch.device("cpu"))

    def targets() -> Iterator[dict[str, Tensor]]:
        for batch in ordered_batches(samples, range(len(samples)), batch_size=_BATCH, compute=here):
            yield batch.targets

    for read in targets():
        for name, constant in constants.items():
            constant.update(read[name])
    answers = {name: constant.answer() for name, constant in constants.items()}
    metrics = {name: metrics_for(tasks[name]) for name in constants}
    for read in targets():
        for name, answer in answers.items():
            metrics[name].update(_of_every_image(tasks[name], answer, read[name]), read[name])
    chance |= {name: value_of(headlines[name], measured.compute(), name) for name, measured in metrics.items()}
    return {name: chance[name] for name in tasks if name in chance}


def _of_every_image(task: Task, answer: Tensor, target: Tensor) -> Tensor:
    """Return a constant answer as a model returns it for a batch."""
    if task.is_map:
        return answer.reshape(1, -1, 1, 1).expand(len(target), -1, *target.shape[-2:])
    return answer.expand(len(target), *answer.shape)
