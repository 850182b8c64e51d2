"""Which layers of a model are its heads: each task has one, in whatever form the model holds them."""

from __future__ import annotations

import torch
from torch import nn

import mtlue
from mtlue._data import Batch
from mtlue._losses.heads import find_heads
from mtlue._tasks import CheckedTargets


class Pair(nn.Module):
    """The heads of two tasks in a module of one's own."""

    def __init__(self) -> None:
        super().__init__()
        self.age, self.young = nn.Linear(3, 4), nn.Linear(3, 2)

    def forward(self, features: torch.Tensor) -> list[torch.Tensor]:
        return [self.age(features), self.young(features)]


class Beside(nn.Module):
    """A head for maps of two convolutions side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(3, 3, 3, padding=1)
        self.fine, self.coarse = nn.Conv2d(3, 1, 1), nn.Conv2d(3, 1, 3, padding=1)
        self.heads = nn.ModuleList([nn.ModuleList([self.fine, self.coarse])])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.body(images)
        answer: torch.Tensor = self.fine(features) + self.coarse(features)
        return answer


def test_no_task_is_left_without_its_head() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network.heads = Pair()
    both = mtlue.Surrogate(network, {"age": 4, "young": 2})
    labels = CheckedTargets({"age": torch.tensor([0, 3]), "young": torch.tensor([0, 1])})
    assert {id(each) for each in find_heads(both, Batch(torch.rand(2, 3, 4, 4), labels))} == set(
        map(id, network.heads.parameters())
    )
    depth = mtlue.Surrogate(Beside(), {"depth": mtlue.Depth()})
    heads = find_heads(depth, Batch(torch.rand(2, 3, 4, 4), CheckedTargets({"depth": torch.rand(2, 1, 4, 4)})))
    assert set(map(id, heads)) == set(map(id, depth.module.heads.parameters()))  # type: ignore[union-attr]
