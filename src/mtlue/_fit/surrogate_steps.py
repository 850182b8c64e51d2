"""Training a surrogate, and measuring what it has learned."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from mtlue._data.batches import Batch
from mtlue._losses import Surrogate
from mtlue._runtime.device import autocast
from mtlue._runtime.memory import BatchSize
from mtlue._tasks import CheckedTargets

#: Turns a clean batch into what the surrogate is to see; augmentation may move the labels with the images.
View = Callable[[Tensor, CheckedTargets], Batch]


def part_of(targets: CheckedTargets, part: slice) -> CheckedTargets:
    """Targets of some samples of a batch."""
    return CheckedTargets({name: target[part] for name, target in targets.items()})


def train_surrogate(
    surrogate: Surrogate,
    optimizer: torch.optim.Optimizer,
    batches: Iterable[Batch],
    view: View,
    *,
    batch_size: BatchSize,
    precision: torch.dtype,
) -> Tensor:
    """Take one step on each batch as the view shows it; return the mean loss, on the device."""
    losses: list[Tensor] = []
    for images, targets in batches:

        def step(part: slice, images: Tensor = images, targets: CheckedTargets = targets) -> Tensor:
            labels = part_of(targets, part)
            # A single sample has no statistics of its own for batch normalisation.
            surrogate.module.train(part.stop - part.start > 1)
            with autocast(images.device, precision):
                loss = surrogate.loss(*view(images[part], labels))
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimizer.step()
            return loss.detach()

        batch_size.run(len(images), step, lambda _, loss: losses.append(loss))
    surrogate.module.eval()
    return torch.stack(losses).mean()


def surrogate_accuracy(
    surrogate: Surrogate, batches: Iterable[Batch], view: View, *, batch_size: BatchSize, precision: torch.dtype
) -> float | None:
    """Accuracy in eval mode, the mean over the tasks in which an answer can be right; None if there is no such task."""
    surrogate.module.eval()
    hits: dict[str, Tensor] = {}
    counts: dict[str, Tensor] = {}
    for images, targets in batches:

        def measure(
            part: slice, images: Tensor = images, targets: CheckedTargets = targets
        ) -> dict[str, tuple[Tensor, Tensor]]:
            with torch.no_grad(), autocast(images.device, precision):
                seen, labels = view(images[part], part_of(targets, part))
                outputs = surrogate(seen)
            found = {name: task.hits(outputs[name], labels[name]) for name, task in surrogate.tasks.items()}
            return {name: each for name, each in found.items() if each is not None}

        def count(_: slice, found: dict[str, tuple[Tensor, Tensor]]) -> None:
            for name, (right, labelled) in found.items():
                hits[name] = hits.get(name, 0) + right
                counts[name] = counts.get(name, 0) + labelled

        batch_size.run(len(images), measure, count)
    shares = [float(hits[name]) / float(counts[name]) for name in hits if float(counts[name])]
    return sum(shares) / len(shares) if shares else None
