"""Look at a generator's result before it is written, and warn if it is weak."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from mtlue._data import Batch, Inspection
from mtlue._fit import History
from mtlue._generator import largest_level
from mtlue._protect.generation import Generation
from mtlue._runtime import BatchSize, warn
from mtlue._tasks import CheckedTargets

_LOOKED_AT = 32
#: Below these shares of the pixels and of the budget, next to nothing has changed.
_FEW_PIXELS, _FEW_LEVELS = 0.02, 0.02
#: If a perturbation depends on the labels, other labels change it by more than this share of itself.
_SAME = 0.01
#: Tolerated relative rise of a loss over fewer epochs than these.
_RISEN, _MANY_EPOCHS = 0.1, 10

logger = logging.getLogger("mtlue.protect")


def warn_of_weak_outcomes(generation: Generation, history: History | None) -> None:
    """Warn about weaknesses of the generator, of its training, and of its perturbations of a few samples.

    Args:
        generation: The generator, and the samples to perturb.
        history: The generator's training, if this call trained it.
    """
    generator, protected = generation.generator, generation.protected_tasks
    if history is not None:
        _warn_of_training(history)
    some = _spread(generation.selected.nonzero().flatten().tolist())
    if not some or not largest_level(generator.epsilon):
        return
    batch = generation.samples.read(some, torch.device("cpu"))
    levels = _levels(generation, batch)
    if _changes_little(levels, largest_level(generator.epsilon)):
        return
    same = [name for name in generator.embeddings if name in protected and _all_equal(generator.embeddings[name])]
    if same:
        names = ", ".join(map(repr, same))
        warn(
            f"generator: the embeddings of {names} are the same for all classes, so its perturbations say nothing about them; "
            "train a new one"
        )
    elif _is_deaf(generation, batch, levels):
        warn(
            "generator: its perturbations do not depend on the labels: with other labels, the same images get the same "
            "perturbations; train it for more epochs, or train a new one"
        )


def warn_of_data(inspection: Inspection, fraction: float, protected: Collection[str]) -> None:
    """Warn about what no perturbation can protect.

    Args:
        inspection: What reading the data set found.
        fraction: Share of the samples to perturb.
        protected: Names of the tasks that a generator will be trained for.
    """
    lone = [name for name in inspection.lone if name in protected]
    if lone:
        names = ", ".join(map(repr, lone))
        warn(
            f"dataset: every label of {names} is the same class, so there is nothing to tell apart and nothing to protect; "
            "give samples of the other classes too, or leave the task out"
        )
    length = inspection.length
    if fraction > 0 and not round(fraction * length):
        warn(
            f"fraction: {fraction:.4g} of {length} samples rounds to 0 samples, so no image changes; "
            f"one sample is a fraction of {1 / length:.2g}"
        )


def _warn_of_training(history: History) -> None:
    first, last = history[0].base_loss, history[-1].base_loss
    # After a few epochs, the loss may end a little higher than it began, by luck.
    slack = 0.0 if len(history) >= _MANY_EPOCHS else _RISEN * max(abs(first), 1.0)
    if len(history) > 1 and last - first > slack:
        warn(
            f"generator: its loss is {last:.4g} in the last epoch and was {first:.4g} in the first, so it learned nothing that "
            "protects; train it with a smaller learning_rate, or against another surrogate"
        )


def _changes_little(levels: Tensor, limit: int) -> bool:
    changed, mean = float((levels != 0).float().mean()), float(levels.abs().mean())
    logger.info(
        "protect: looked at %d images: %.0f %% of the pixels change, by %.2f of %d levels in the mean",
        len(levels), 100 * changed, mean, limit,
    )  # fmt: skip
    little = changed < _FEW_PIXELS or mean < _FEW_LEVELS * limit
    if little:
        warn(
            f"generator: it changes {100 * changed:.2g} % of the pixels, on average by {mean:.2g} of {limit} levels: next to "
            "nothing is protected; train it for more epochs, or train a new one"
        )
    return little


def _is_deaf(generation: Generation, batch: Batch, levels: Tensor) -> bool:
    """Return whether other labels give the same perturbations, on samples that have any."""
    differs, other = _other_labels(generation, batch)
    if not bool(differs.any()):
        return False
    change = (levels - _levels(generation, other)).abs()[differs].mean()
    return bool(change < _SAME * levels.abs().mean())


def _levels(generation: Generation, batch: Batch) -> Tensor:
    size = BatchSize(_LOOKED_AT, quiet=True)
    with generation.ready():
        return (255 * torch.cat([delta.cpu() for _, delta in size.run(generation.perturbations, batch)])).round()


def _other_labels(generation: Generation, batch: Batch) -> tuple[Tensor, Batch]:
    """Choose the samples that get another label of a protected task, booleans (B,), and return the images with these labels."""
    half = max(len(batch) // 2, 1)
    targets = CheckedTargets({name: target.roll(half, 0) for name, target in batch.targets.items()})
    differs = torch.zeros(len(batch), dtype=torch.bool)
    for name in generation.protected_tasks:
        differs |= (batch.targets[name] != targets[name]).reshape(len(batch), -1).any(dim=1)
    return differs, Batch(batch.images, targets)


def _all_equal(table: Tensor) -> bool:
    return len(table) > 1 and bool(torch.allclose(table, table[:1].expand_as(table)))


def _spread(indices: Sequence[int]) -> list[int]:
    """Return a few of the samples, evenly spread."""
    step = max(1, len(indices) // _LOOKED_AT)
    return list(indices[::step][:_LOOKED_AT])
