"""The surrogate that `protect` makes and trains for those who bring none."""

from __future__ import annotations

from typing import Any

import pytest
import torch

import mtlue
from mtlue import evaluation
from properties import assert_protected

QUICK: dict[str, Any] = {"epochs": 1, "batch_size": 4, "progress": False}


def small_set(channels: int, size: int) -> list[tuple[torch.Tensor, dict[str, int]]]:
    numbers = torch.Generator().manual_seed(0)
    images = torch.randint(256, (9, channels, size, size), dtype=torch.uint8, generator=numbers)
    return [(image, {"a.b": index % 2, "forward": index % 3}) for index, image in enumerate(images)]


@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
@pytest.mark.parametrize(("channels", "size"), [(1, 8), (4, 8), (1, 16), (4, 16)])
def test_small_images_and_names_that_no_module_can_have(channels: int, size: int) -> None:
    dataset = small_set(channels, size)
    safe = mtlue.protect(dataset, **QUICK)
    assert list(safe.tasks) == ["a.b", "forward"]
    assert_protected(safe, dataset)


def test_it_has_other_initial_weights_than_a_victim_of_the_same_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A protection that is audited with equal seeds is not to be aimed at the very network that it is audited with."""
    made: list[Any] = []

    def build(*args: Any, **settings: Any) -> Any:
        model: Any = evaluation.build_model(*args, **settings)
        made.append(model.backbone.stem[0].weight.detach().clone())
        return model

    monkeypatch.setattr("mtlue._protect.stages.build_model", build)
    for seed in (3, 3, 4):
        mtlue.protect(small_set(3, 8), loss=mtlue.EM(), seed=seed, **QUICK)
    victim: Any = evaluation.build_model("resnet18", {"a.b": 2, "forward": 3}, image_shape=(3, 8, 8), seed=3)
    first, again, other = made
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, victim.backbone.stem[0].weight)
