"""What a surrogate must be able to do before anything is trained against it."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mtlue._data.batches import Batch
from mtlue._fit.surrogate_steps import part_of
from mtlue._losses import SEP, TAP, BaseUELoss, Surrogate, borrowed
from mtlue._runtime.memory import BatchSize, out_of_memory
from mtlue._tasks import CheckedTargets

# Above what luck gives on the few hundred images that are looked at.
_CHANCE = 0.05
_LOOK = 64


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
        ValueError: it has no parameters, or none to train where the loss trains it.
    """
    parameters = list(surrogate.module.parameters())
    if not parameters:
        raise ValueError("surrogate: expected a model with parameters, got a module that has none")
    if loss.trains_surrogate and not any(parameter.requires_grad for parameter in parameters):
        raise ValueError("surrogate: the loss trains it, but no parameter has requires_grad=True")


def check_answers(surrogate: Surrogate, loss: BaseUELoss, batches: Iterable[Batch], device: torch.device) -> None:
    """Show a few clean batches to the surrogate: do its answers fit the tasks, and is it trained?

    Warns:
        UserWarning: the loss takes its signal from a trained surrogate, and this one is no better than chance.

    Raises:
        ValueError: it fails on the images, or its answers do not fit the tasks.
        TypeError: its answers are not made of tensors.
    """
    if isinstance(loss, SEP):
        surrogate = loss.last(surrogate)
    skills: list[float] = []
    batch_size = BatchSize(_LOOK, quiet=True)
    with borrowed(surrogate.module, device=device, trainable=False):
        for images, targets in batches:
            # Only here: what the user's data set computes when a batch is read is none of our business.
            @torch.no_grad()
            def look(part: slice, images: Tensor = images, targets: CheckedTargets = targets) -> None:
                outputs = surrogate.read(_answer(surrogate.module, images[part]))
                skills.extend(_skills(surrogate, outputs, part_of(targets, part)))

            batch_size.run(len(images), look)
    if isinstance(loss, TAP | SEP) and sum(skills) / max(len(skills), 1) < _CHANCE:
        warnings.warn(
            f"surrogate: no better than chance on the clean data, it looks untrained; {type(loss).__name__} takes its signal "
            "from a surrogate that was trained on clean data",
            stacklevel=4,
        )


def _answer(module: nn.Module, images: Tensor) -> object:
    try:
        return module(images)
    except Exception as error:
        if out_of_memory(error):
            raise
        shape = tuple(images.shape)
        raise ValueError(f"surrogate: failed on images of shape {shape}: {type(error).__name__}: {error}") from error


def _skills(surrogate: Surrogate, outputs: dict[str, Tensor], targets: CheckedTargets) -> list[float]:
    skills = []
    for name, task in surrogate.tasks.items():
        try:
            skills.append(task.skill(outputs[name].float(), targets[name]))
        except (IndexError, RuntimeError, ValueError) as error:
            shapes = f"shape {tuple(outputs[name].shape)} does not fit labels of shape {tuple(targets[name].shape)}"
            raise ValueError(f"surrogate output of task {name!r}: {shapes}: {error}") from error
    return skills
