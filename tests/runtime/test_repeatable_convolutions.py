"""Convolutions are repeatable in every verb, and still those of cuDNN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue import baselines, evaluation
from mtlue._runtime import repeatable_convolutions

TASKS = {"shape": 2}
SET = [(torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(index)), {"shape": index % 2}) for index in range(8)]
QUIET: dict[str, Any] = {"batch_size": 4, "device": "cpu", "progress": False}


def flags() -> tuple[bool, bool, bool]:
    cudnn = torch.backends.cudnn
    return cudnn.enabled, cudnn.deterministic, cudnn.benchmark


class Seeing(nn.Module):
    """Notes the flags of cuDNN while it, or a copy of it, is computed."""

    seen: ClassVar[set[tuple[bool, bool, bool]]] = set()

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 8 * 8, 2)

    def forward(self, images: Tensor) -> Tensor:
        self.seen.add(flags())
        answer: Tensor = self.layer(images.flatten(1))
        return answer


def test_what_is_not_about_repeating_stays() -> None:
    before = flags()
    with repeatable_convolutions():
        assert flags() == (before[0], True, False)
    assert flags() == before
    with pytest.raises(KeyError), repeatable_convolutions():
        raise KeyError
    assert flags() == before


@pytest.mark.parametrize(
    "call",
    [
        lambda net: mtlue.fit(mtlue.UEGenerator(TASKS, (3, 8, 8), width=4), SET, net, loss=mtlue.EM(), epochs=1, **QUIET),
        lambda net: baselines.pgd(SET, tasks=TASKS, surrogate=net, loss=mtlue.EM(), steps=1, **QUIET),
        lambda net: evaluation.train_victim(SET, tasks=TASKS, model=net, epochs=1, **QUIET),
    ],
    ids=["fit", "pgd", "train_victim"],
)
def test_every_verb_computes_with_cudnn(call: Callable[[nn.Module], object]) -> None:
    Seeing.seen.clear()
    torch.manual_seed(0)
    call(Seeing())
    assert (True, True, False) in Seeing.seen
    assert all(enabled for enabled, _, _ in Seeing.seen)


def test_perturbing_and_checking_compute_with_cudnn(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()
    forward = nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, images: seen.add(flags()) or forward(self, images))
    mtlue.protect(SET, tasks=TASKS, generator=mtlue.UEGenerator(TASKS, (3, 8, 8), width=4), check=False, epochs=1, **QUIET)
    mtlue.protect(SET, tasks=TASKS, epochs=1, **QUIET)
    assert (True, True, False) in seen
    assert all(enabled for enabled, _, _ in seen)
