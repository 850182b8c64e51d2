"""Features of a data set at a layer of a model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue.analysis import collect_features
from snapshots import equal, snapshot

TASKS = {"age": 3, "gender": mtlue.Classification(2, ignore_index=9)}


class Network(nn.Module):
    """Features through a layer that works in place, and a head that can fail."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Dropout(0.5))
        self.activation = nn.ReLU(inplace=True)
        self.head = nn.Linear(4, 5)
        self.unused = nn.Identity()
        self.pair = nn.MaxPool2d(2, return_indices=True)
        self.fails = fails

    def forward(self, images: Tensor) -> Tensor:
        features = self.activation(self.features(images))
        self.pair(features)
        if self.fails:
            raise KeyError("head")
        answer: Tensor = self.head(self.activation(features.mean(dim=(2, 3))))
        return answer


@pytest.fixture
def network() -> Network:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network()
    network.features[1].eval()
    network.head.weight.grad = torch.ones_like(network.head.weight)
    return network


@pytest.fixture
def dataset() -> list[tuple[Tensor, dict[str, int]]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.rand(1, 6, 6, generator=generator), {"age": index % 3, "gender": (0, 1, 9)[index % 3]}) for index in range(5)
    ]


def test_features_are_what_the_layer_gives_in_eval_mode(network: Network, dataset: list[Any]) -> None:
    """Averaged over the pixels, and before the next layer changes them in place."""
    features, targets = collect_features(network, dataset, layer=network.features, tasks=TASKS, batch_size=2)
    network.features.eval()
    expected = network.features(torch.stack([image for image, _ in dataset])).mean(dim=(2, 3)).detach()
    assert float(expected.min()) < 0
    torch.testing.assert_close(features, expected)
    assert not features.requires_grad
    assert {name: labels.tolist() for name, labels in targets.items()} == {"age": [0, 1, 2, 0, 1], "gender": [0, 1, -1, 0, 1]}


def test_a_layer_may_give_vectors(network: Network, dataset: list[Any]) -> None:
    features, _ = collect_features(network, dataset, layer=network.head, tasks=TASKS)
    torch.testing.assert_close(features, network.eval()(torch.stack([image for image, _ in dataset])).detach())


def test_the_batch_size_does_not_matter(network: Network, dataset: list[Any]) -> None:
    one, all_of_them = (
        collect_features(network, dataset, layer=network.features, tasks=TASKS, batch_size=size)[0] for size in (1, 64)
    )
    torch.testing.assert_close(one, all_of_them)


def test_images_of_other_sizes_and_kinds_and_tasks_that_the_labels_tell(network: Network) -> None:
    dataset = [(torch.zeros(1, 6, 6), 0), (torch.full((1, 12, 9), 255, dtype=torch.uint8), 1), (torch.ones(1, 6, 6), 1)]
    features, targets = collect_features(network, dataset, layer=network.features)
    torch.testing.assert_close(features[1], features[2])
    assert [labels.tolist() for labels in targets.values()] == [[0, 1, 1]]


def test_tasks_with_label_maps_have_no_entry(network: Network) -> None:
    dataset = [(torch.rand(1, 6, 6), {"depth": torch.rand(1, 6, 6), "age": 2})] * 2
    _, targets = collect_features(network, dataset, layer=network.head, tasks={"depth": mtlue.Depth(), "age": 3})
    assert {name: labels.tolist() for name, labels in targets.items()} == {"age": [2, 2]}


def test_the_model_comes_back_as_it_was(network: Network, dataset: list[Any]) -> None:
    before = snapshot(network)
    collect_features(network, dataset, layer=network.features, tasks=TASKS)
    assert equal(snapshot(network), before)
    assert not network.features._forward_hooks


def test_the_model_comes_back_as_it_was_when_it_fails(network: Network, dataset: list[Any]) -> None:
    network.fails = True
    before = snapshot(network)
    with pytest.raises(KeyError, match="head"):
        collect_features(network, dataset, layer=network.features, tasks=TASKS)
    assert equal(snapshot(network), before)
    assert not network.features._forward_hooks


def test_wrong_arguments(network: Network, dataset: list[Any]) -> None:
    def collect(layer: Any, model: Any = network, data: Any = dataset, **options: Any) -> None:
        collect_features(model, data, layer=layer, tasks=TASKS, **options)

    with pytest.raises(TypeError, match=r"model: expected a torch.nn.Module, got function"):
        collect(network.head, model=lambda images: images)
    with pytest.raises(TypeError, match=r"layer: expected a torch.nn.Module, got str"):
        collect("head")
    with pytest.raises(ValueError, match="layer: this Linear is not part of the model, a Network"):
        collect(nn.Linear(4, 5))
    with pytest.raises(ValueError, match=r"layer: expected a layer that runs once .* ran 0 times"):
        collect(network.unused)
    with pytest.raises(ValueError, match=r"layer: expected a layer that runs once .* ran 2 times"):
        collect(network.activation)
    with pytest.raises(ValueError, match="layer: expected a layer that gives one tensor, got one that gives a tuple"):
        collect(network.pair)
    with pytest.raises(ValueError, match="dataset: expected at least one sample"):
        collect(network.head, data=[])
    with pytest.raises(ValueError, match="batch_size: expected at least 1, got 0"):
        collect(network.head, batch_size=0)
    tokens = nn.Sequential(nn.Flatten(2))
    with pytest.raises(ValueError, match=r"layer: expected one that gives \(B, F\) or \(B, F, H, W\), got \(5, 1, 36\)"):
        collect(tokens[0], model=tokens)
