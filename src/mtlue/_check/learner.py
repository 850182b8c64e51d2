"""A small network that trains briefly, and a measure of what it learned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mtlue._check.skill import without_rates
from mtlue._data import Batch, Transform, augmented
from mtlue._fit import SurrogateTraining, one_cycle
from mtlue._losses import Surrogate
from mtlue._models import small_network
from mtlue._runtime import BatchSize, Compute, Stream
from mtlue._tasks import CheckedTargets, Task

_LEARNING_RATE = 3e-3
_AT_ONCE, _MAPS_AT_ONCE = 256, 16
# Steps of a training. With fewer, nothing is learned; with more, little changes.
_FEWEST, _MOST = 80, 300
# Passes over the images, at most. With more, a network learns the images by heart.
_PASSES = 12
_BATCH, _MAPS_BATCH = 32, 8
_TRAIN, _TEST = 2400, 1000
# Bytes of the training images, in one of their versions.
_BYTES = 2**28


@dataclass(frozen=True)
class CheckPlan:
    """How large a check is.

    Attributes:
        train: Number of training images.
        test: Number of other images for testing.
        steps: Training steps of each network.
        batch_size: Images in a step.
    """

    train: int
    test: int
    steps: int
    batch_size: int

    @classmethod
    def within(cls, *, length: int, image_bytes: int, has_maps: bool, views: float | None) -> CheckPlan:
        """Return the largest useful check within a budget.

        Args:
            length: Number of samples in the set.
            image_bytes: Bytes of an image.
            has_maps: Whether labels are maps.
            views: How many images each network may see, counting repeats. None for as many as are of use.
        """
        train = max(1, min(_TRAIN, 3 * length // 5, _BYTES // image_bytes))
        batch_size = _MAPS_BATCH if has_maps else _BATCH
        most = max(_FEWEST, min(_MOST, _PASSES * train // batch_size))
        steps = most if views is None else int(min(max(views // batch_size, _FEWEST), most))
        return cls(train, min(_TEST, length - train), steps, batch_size)


def network_for(tasks: Mapping[str, Task], shape: tuple[int, int, int], *, seed: int) -> Surrogate:
    """Make an untrained network for a check."""
    return Surrogate(small_network(tasks, shape, seed=seed), dict(tasks))


def learn(
    tasks: Mapping[str, Task],
    samples: Batch,
    plan: CheckPlan,
    compute: Compute,
    *,
    transform: Transform | None,
) -> Surrogate:
    """Train a new network briefly on samples that it sees through ``transform``."""
    seed = compute.seed_of(Stream.CHECK, 1)
    channels, height, width = samples.images.shape[1:]
    network = network_for(tasks, (channels, height, width), seed=seed)
    network.module.to(compute.device)
    training = SurrogateTraining(
        network, learning_rate=_LEARNING_RATE, batch_size=BatchSize(plan.batch_size, quiet=True), compute=compute
    )

    def batches() -> Iterator[Batch]:
        order = _order(len(samples), plan, compute)
        for step, chosen in enumerate(order):
            for group in training.optimizer.param_groups:
                group["lr"] = _LEARNING_RATE * one_cycle(step / len(order))
            yield _some(samples, chosen, tasks).to(compute.device)

    with compute.random_numbers(Stream.CHECK, 2):
        training.train(batches(), lambda batch: augmented(transform, batch, tasks))
    return network


def answers(network: Surrogate, trained_on: Batch, test: Batch, compute: Compute) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """Return outputs and targets by task for each batch, on the CPU. The rates of the labels are taken out of the outputs."""
    tasks = network.tasks
    size = BatchSize(_MAPS_AT_ONCE if any(task.is_map for task in tasks.values()) else _AT_ONCE, quiet=True)
    found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in tasks}

    @torch.no_grad()
    def look(part: Batch) -> dict[str, Tensor]:
        with compute.autocast():
            return network(part.to(compute.device).images)

    for part, outputs in size.run(look, test):
        for name, task in tasks.items():
            output = without_rates(task, outputs[name].float().cpu(), trained_on.targets[name])
            found[name].append((output, part.targets[name]))
    return found


def _order(length: int, plan: CheckPlan, compute: Compute) -> list[Tensor]:
    """Return the indices of the samples for each step. Every sample comes once in each pass."""
    random = compute.generator(Stream.CHECK, 3)
    passes = -(-plan.steps * plan.batch_size // length)
    order = torch.cat([torch.randperm(length, generator=random) for _ in range(passes)])
    return list(order[: plan.steps * plan.batch_size].split(plan.batch_size))


def _some(samples: Batch, chosen: Tensor, tasks: Mapping[str, Task]) -> Batch:
    return Batch(samples.images[chosen], CheckedTargets({name: samples.targets[name][chosen] for name in tasks}))
