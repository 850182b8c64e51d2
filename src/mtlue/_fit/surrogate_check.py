"""What a surrogate must be able to do before anything is trained against it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from mtlue._data import Samples, Transform, augmented, ordered_batches
from mtlue._data.batches import Batch
from mtlue._fit.surrogate_steps import part_of
from mtlue._losses import SEP, TAP, BaseUELoss, Surrogate, borrowed
from mtlue._losses.base import image_gradient, loss_value
from mtlue._runtime.device import random_numbers
from mtlue._runtime.memory import BatchSize, out_of_memory
from mtlue._runtime.warn import warn
from mtlue._tasks import CheckedTargets, Task
from mtlue._tasks.labels import ClassLabels

# Above what luck gives on the few hundred images that are looked at.
_CHANCE = 0.05
_LOOK = 64
# How far a sum of probabilities may be from 1: half precision is that coarse.
_SUM = 1e-3


def check_loss(loss: object) -> BaseUELoss:
    """Return the loss if it matches the protocol.

    Raises:
        TypeError: it is not callable, is a class, or has no ``trains_surrogate``.
    """
    if isinstance(loss, type):
        raise TypeError(f"loss: expected an object such as mtlue.TAP(), got the class {loss.__name__}")
    if not isinstance(loss, BaseUELoss):
        raise TypeError(
            "loss: expected mtlue.EM(), TAP(), SEP(checkpoints), or a callable with an attribute trains_surrogate, "
            f"got {type(loss).__name__}"
        )
    return loss


def check_parameters(surrogate: Surrogate, loss: BaseUELoss) -> None:
    """Refuse a surrogate that the loss cannot use.

    Raises:
        ValueError: it has no parameters, none to train where the loss trains it, or some without a value.
    """
    parameters = list(surrogate.module.parameters())
    if not parameters:
        raise ValueError("surrogate: expected a model with parameters, got a module that has none")
    if any(parameter.is_meta for parameter in parameters):
        raise ValueError("surrogate: it is on the meta device, its weights were never made")
    if loss.trains_surrogate and not any(parameter.requires_grad for parameter in parameters):
        raise ValueError("surrogate: the loss trains it, but no parameter has requires_grad=True")


def check_answers(
    surrogate: Surrogate, loss: BaseUELoss, batches: Iterable[Batch], device: torch.device, *, epochs_here: int = 0
) -> None:
    """Show a few clean batches to the surrogate: do its answers fit the tasks, and is it trained?

    Args:
        surrogate: The surrogate.
        loss: The loss that is to be taken with it.
        batches: The batches.
        device: Where to compute.
        epochs_here: For how many epochs the library itself has trained it, in this call.

    Warns:
        UserWarning: the loss takes its signal from a trained surrogate, and this one is no better than chance; or its answers
            look like probabilities.

    Raises:
        ValueError: it fails on the images, or its answers do not fit the tasks.
        TypeError: its answers are not made of tensors.
    """
    if isinstance(loss, SEP):
        surrogate = loss.last(surrogate)
    skills: list[float] = []
    probabilities = {name for name, task in surrogate.tasks.items() if isinstance(task, ClassLabels)}
    batch_size = BatchSize(_LOOK, quiet=True)
    with borrowed(surrogate.module, device=device, trainable=False):
        for images, targets in batches:
            # Only here: what the user's data set computes when a batch is read is none of our business.
            @torch.no_grad()
            def look(part: slice, images: Tensor = images, targets: CheckedTargets = targets) -> None:
                outputs = surrogate.read(_answer(surrogate.module, images[part]))
                skills.extend(_skills(surrogate, outputs, part_of(targets, part)))
                probabilities.intersection_update(name for name in probabilities if _sums_to_one(outputs[name]))

            batch_size.run(len(images), look)
    for name in surrogate.tasks:
        if name in probabilities:
            warn(f"surrogate: output of task {name!r} looks like probabilities; give logits, without softmax")
    if isinstance(loss, TAP | SEP) and sum(skills) / max(len(skills), 1) < _CHANCE:
        if epochs_here:
            why = f"after {epochs_here} epochs of training by mtlue; give more epochs, or a surrogate that you have trained"
        else:
            signal = f"{type(loss).__name__} takes its signal from a surrogate that was trained on clean data"
            why = f"it looks untrained; {signal}"
        warn(f"surrogate: no better than chance on the clean data, {why}")


def check_gradient(
    surrogate: Surrogate,
    loss: BaseUELoss,
    samples: Samples,
    *,
    size: tuple[int, int] | None,
    augment: Transform | None,
    device: torch.device,
    seed: int,
) -> None:
    """Take the loss of two clean images as a step would, and its gradient at them, where the first step is far away.

    Raises:
        TypeError: the loss is no scalar tensor, or ``augment`` returns no images.
        ValueError: the loss fails, no gradient reaches the images, or ``augment`` returns images of another form.
    """
    few = range(min(2, len(samples)))
    images, targets = next(iter(ordered_batches(samples, few, batch_size=2, size=size, device=device, num_workers=0)))
    leaf = images.clone().requires_grad_(True)
    with borrowed(surrogate.module, device=device, trainable=False), random_numbers(seed, device):
        # A copy, as what is perturbed is no leaf either: on a leaf nothing may work in place.
        seen, labels = augmented(augment, leaf.clone(), targets, surrogate.tasks)
        value = loss_value(loss, surrogate, seen, labels)
        # A loss may be a constant where labels of a batch are missing.
        if all_labelled(targets, surrogate.tasks):
            image_gradient(value, leaf)


def all_labelled(targets: Mapping[str, Tensor], tasks: Mapping[str, Task]) -> bool:
    """Whether each sample of a batch has a label of each task."""
    return not any(bool(task.missing(targets[name]).any()) for name, task in tasks.items())


def _answer(module: nn.Module, images: Tensor) -> object:
    try:
        return module(images)
    except Exception as error:
        if out_of_memory(error):
            raise
        others = {each.dtype for each in module.parameters() if each.is_floating_point()} - {images.dtype}
        cure = ""
        if others:
            cure = (
                f"; it has parameters of {', '.join(sorted(map(str, others)))}, images are float32: give net.float(), and "
                "precision=torch.bfloat16 for speed"
            )
        shape = tuple(images.shape)
        raise ValueError(f"surrogate: failed on images of shape {shape}: {type(error).__name__}: {error}{cure}") from error


def _sums_to_one(logits: Tensor) -> bool:
    """Whether each answer is a distribution over classes; a single logit, which stands beside a zero, is none."""
    if logits.shape[1] < 2 or not bool((logits >= 0).all()) or not bool(logits[:, 0].any()):
        return False
    return bool(((logits.float().sum(dim=1) - 1).abs() <= _SUM).all())


def _skills(surrogate: Surrogate, outputs: dict[str, Tensor], targets: CheckedTargets) -> list[float]:
    skills = []
    for name, task in surrogate.tasks.items():
        try:
            skills.append(task.skill(outputs[name].float(), targets[name]))
        except (IndexError, RuntimeError, ValueError) as error:
            shapes = f"shape {tuple(outputs[name].shape)} does not fit labels of shape {tuple(targets[name].shape)}"
            raise ValueError(f"surrogate output of task {name!r}: {shapes}: {error}") from error
    return skills
