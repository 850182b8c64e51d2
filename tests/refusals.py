"""Calls that are to be refused before anything is trained, and losses and surrogates that are wrong on demand."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import mtlue

Refused = Callable[..., str]


@pytest.fixture(params=["fit", "protect"])
def refused(request: pytest.FixtureRequest, net: nn.Module, make_generator: Any) -> Refused:
    """Calls a verb with a data set and checks the error, and that nothing was trained before it."""

    def call(dataset: Any, error: type[Exception], *words: str, **arguments: Any) -> str:
        generator = arguments.pop("generator", None) or make_generator()
        surrogate = arguments.pop("surrogate", net)
        steps: list[Any] = []
        # In the first step the generator is in training mode, where norms follow what they see.
        kept = dict(generator.named_parameters() if arguments.pop("in_first_step", False) else generator.state_dict())
        before = {name: value.clone() for name, value in kept.items()}
        settings = {"loss": mtlue.TAP(), "epochs": 1, "batch_size": 8, "progress": steps.append, **arguments}
        verb = mtlue.fit if request.param == "fit" else mtlue.protect
        with pytest.raises(error) as caught:
            verb(dataset=dataset, generator=generator, surrogate=surrogate, **settings)
        assert steps == []
        assert all(torch.equal(before[name], value) for name, value in kept.items())
        assert not isinstance(surrogate, nn.Module) or all(p.grad is None for p in surrogate.parameters())
        text = str(caught.value)
        for word in words:
            assert re.search(word, text), f"{word!r} is not in {text!r}"
        return text

    return call


class Without(nn.Module):
    """A surrogate with a step that lets no gradient through."""

    def __init__(self, net: nn.Module, step: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.net, self.step = net, step

    def forward(self, images: torch.Tensor) -> Any:
        return self.net(self.step(images))
