"""A run knows its loss and its augmentation again, whatever they are and hold."""

from __future__ import annotations

import copy
import functools
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from killed_run import Students
from mtlue._losses import networks_of
from mtlue._runtime.identity import described
from own_losses import MarginPush, Module, as_loss, with_clean


class Plain:
    """The same without the package's class."""

    trains_surrogate = False

    def __init__(self, margin: float) -> None:
        self.margin = margin

    __call__ = MarginPush.__call__


def linear(value: float) -> nn.Module:
    module = nn.Linear(2, 2)
    nn.init.constant_(module.weight, value)
    nn.init.zeros_(module.bias)
    return module


@pytest.mark.parametrize(
    ("was", "has", "told"),
    [
        (MarginPush(2.0), MarginPush(3.0), r"loss was 'MarginPush\(margin=2.0\)', is 'MarginPush\(margin=3.0\)'"),
        (Plain(2.0), Plain(3.0), r"loss was 'Plain\(margin=2.0\)', is 'Plain\(margin=3.0\)'"),
        (Module(2.0), Module(3.0), r"loss was 'Module\(margin=2.0, .*, is 'Module\(margin=3.0, "),
        (
            as_loss(functools.partial(with_clean, weight=2.0)),
            as_loss(functools.partial(with_clean, weight=3.0)),
            r"loss was 'partial\(with_clean, weight=2.0\)', is 'partial\(with_clean, weight=3.0\)'",
        ),
        (MarginPush(2.0, torch.zeros(3)), MarginPush(2.0, torch.ones(3)), "checksum of the loss's held was"),
        (MarginPush(2.0, {"a": [linear(1)]}), MarginPush(2.0, {"a": [linear(2)]}), "checksum of the loss's held was"),
        (
            as_loss(functools.partial(with_clean, weight=torch.tensor(0.0))),
            as_loss(functools.partial(with_clean, weight=torch.tensor(1.0))),
            "checksum of the loss's weight was",
        ),
    ],
    ids=["attribute", "plain", "module", "partial", "tensor", "deep module", "bound tensor"],
)
def test_a_checkpoint_of_another_loss_is_refused(script: ModuleType, tmp_path: Path, was: Any, has: Any, told: str) -> None:
    script.fit("", tmp_path / "run.pt", epochs=1, loss=was)
    script.fit("", tmp_path / "run.pt", epochs=1, loss=copy.deepcopy(was))
    with pytest.raises(ValueError, match=rf"belongs to a run with other arguments \({told}"):
        script.fit("", tmp_path / "run.pt", epochs=1, loss=has)


def test_what_a_loss_holds_is_no_setting_of_the_run() -> None:
    """Whatever its attribute is called."""
    loss = MarginPush(1.0)
    loss.surrogate = loss.seed = torch.ones(1)  # type: ignore[attr-defined]
    surrogate = mtlue.Surrogate(linear(1.0), {"a": 2})
    found = networks_of(loss, surrogate)
    assert list(found) == ["surrogate", "loss's surrogate", "loss's seed"]
    assert found["surrogate"] == networks_of(MarginPush(1.0), surrogate)["surrogate"]


@pytest.mark.parametrize("copied", [False, True])
def test_what_is_in_the_state_of_a_loss_may_differ_and_nothing_else(copied: bool) -> None:
    class Distil(Students):
        def __init__(self, teacher: nn.Module) -> None:
            super().__init__()
            self.teacher = teacher

        def state_dict(self) -> dict[str, Any]:
            return copy.deepcopy(super().state_dict()) if copied else super().state_dict()

    surrogate = mtlue.Surrogate(linear(1.0), {"a": 2})
    loss = Distil(linear(1.0))
    before = networks_of(loss, surrogate)
    assert list(before) == ["surrogate", "loss's teacher"]
    with torch.no_grad():
        for parameter in loss.checkpoints[0].parameters():
            parameter.add_(1)
    assert networks_of(loss, surrogate) == before
    assert networks_of(Distil(linear(2.0)), surrogate)["loss's teacher"] != before["loss's teacher"]


def test_a_loss_is_described_alike_in_each_process() -> None:
    assert described(MarginPush(1.0, {"b", "a", "c"})) == "MarginPush(margin=1.0, held={'a', 'b', 'c'})"
    assert described(MarginPush(1.0, {"scale": torch.ones(2)})) == "MarginPush(margin=1.0, held={'scale': Tensor(2,)})"
    assert (
        described(MarginPush(1.0, nn.Sequential(Faded(0.5)))) == "MarginPush(margin=1.0, held=Sequential(0=Faded(share=0.5)))"
    )
    cyclic = MarginPush(1.0)
    cyclic.held = Plain(2.0)
    cyclic.held.loss = cyclic
    assert repr(cyclic) == "MarginPush(margin=1.0, held=Plain(margin=2.0, loss=...))"


class Faded(nn.Module):
    """Augmentation that is a module."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, images: Tensor) -> Tensor:
        return self.share * images


def test_augmentation_that_is_a_module_is_known_by_its_settings(script: ModuleType, tmp_path: Path) -> None:
    from torchvision.transforms import v2

    changes: list[Any] = [
        (Faded(0.5), Faded(0.75), r"augment was 'Faded\(share=0.5\)', is 'Faded\(share=0.75\)'"),
        (v2.RandomAffine(5), v2.RandomAffine(6), r"augment was 'RandomAffine\(degrees=\[-5.0"),
        (
            v2.Compose([v2.RandomAffine(degree) for degree in (5, 6, 7)]),
            v2.Compose([v2.Identity()]),
            r"augment was 'Compose\(\w{12}",
        ),
    ]
    for index, (was, has, told) in enumerate(changes):
        script.fit("tap", tmp_path / f"{index}.pt", epochs=1, augment=was)
        with pytest.raises(ValueError, match=told):
            script.fit("tap", tmp_path / f"{index}.pt", epochs=1, augment=has)


def test_a_module_that_prints_an_address_is_known_by_its_kind() -> None:
    class Wrapping(nn.Module):
        def extra_repr(self) -> str:
            return repr(object())

    assert described(MarginPush(1.0, Wrapping())).startswith("MarginPush(margin=1.0, held=")
    assert " at 0x" not in described(Wrapping())
