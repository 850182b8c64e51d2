"""Record what a layer returns while its model runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor, nn


def check_layer(model: nn.Module, layer: nn.Module) -> None:
    """Refuse a layer that is not part of the model.

    Raises:
        TypeError: one of the two is not a module.
        ValueError: the layer is not in the model.
    """
    for name, module in (("model", model), ("layer", layer)):
        if not isinstance(module, nn.Module):
            raise TypeError(f"{name}: expected a torch.nn.Module, got {type(module).__name__}")
    if not any(part is layer for part in model.modules()):
        raise ValueError(f"layer: this {type(layer).__name__} is not part of the model, a {type(model).__name__}")


@contextmanager
def recorded(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Append a copy of the layer's answer to the list each time it runs in this context."""
    answers: list[Tensor] = []

    def note(module: nn.Module, inputs: object, answer: object) -> None:
        if not isinstance(answer, Tensor):
            raise ValueError(f"layer: expected a layer that gives one tensor, got one that gives a {type(answer).__name__}")
        # A copy, because the next layer may work in place.
        answers.append(answer.detach().clone())

    handle = layer.register_forward_hook(note)
    try:
        yield answers
    finally:
        handle.remove()


def only_answer(answers: list[Tensor]) -> Tensor:
    """Return the answer of a layer that ran once in a forward pass.

    Raises:
        ValueError: it did not run, or ran more than once.
    """
    if len(answers) != 1:
        raise ValueError(
            f"layer: expected a layer that runs once in a forward pass of the model, this one ran {len(answers)} times"
        )
    return answers[0]
