"""The small network that the check and students are."""

from __future__ import annotations

import pytest
import torch

import mtlue
from mtlue._models import small_network

CLASSES = {"a.b": mtlue.Classification(3), "forward": mtlue.Classification(2)}
MIXED = {**CLASSES, "parts": mtlue.Segmentation(4), "depth": mtlue.Depth()}


@pytest.mark.parametrize("size", [(4, 4), (9, 30), (32, 32), (64, 70), (224, 224)])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_it_answers_at_any_size(size: tuple[int, int], channels: int) -> None:
    images = torch.rand(2, channels, *size)
    answers = small_network(CLASSES, (channels, *size), width=4, seed=0)(images)
    assert {name: tuple(answer.shape) for name, answer in answers.items()} == {"a.b": (2, 3), "forward": (2, 2)}
    answers = small_network(MIXED, (channels, *size), width=4, seed=0)(images)
    shapes = {"a.b": (2, 3), "forward": (2, 2), "parts": (2, 4, *size), "depth": (2, 1, *size)}
    assert {name: tuple(answer.shape) for name, answer in answers.items()} == shapes


def test_one_product_gives_what_each_head_gives() -> None:
    network = small_network({**CLASSES, "one": mtlue.Classification(1)}, (3, 32, 32), width=4, seed=0)
    images = torch.rand(5, 3, 32, 32)
    features = network.features(images)
    answers = network(images)
    assert list(answers) == ["a.b", "forward", "one"]
    for answer, head in zip(answers.values(), network.heads, strict=True):
        torch.testing.assert_close(answer, head(features))
        # As a user's own task may do.
        assert answer.view(-1).shape == (5 * head.out_features,)
        answer.mul_(2.0)


def test_it_sees_up_to_127_pixels() -> None:
    sizes = {side: small_network(CLASSES, (3, side, side), seed=0).backbone for side in (32, 64, 127, 128, 255, 256)}
    maps = {side: backbone.layers[0](torch.rand(1, 3, side, side)).shape[-1] for side, backbone in sizes.items()}
    assert maps == {32: 32, 64: 64, 127: 127, 128: 64, 255: 128, 256: 64}


def test_each_pixel_counts() -> None:
    image = torch.rand(2, 1, 128, 128, requires_grad=True)
    small_network({"a": mtlue.Classification(2)}, (1, 128, 128), seed=0).backbone.layers[0][0](image).square().sum().backward()
    assert image.grad is not None
    assert bool((image.grad != 0).all())


def test_the_seed_decides_and_the_callers_random_numbers_stay() -> None:
    before = torch.get_rng_state()
    one, two, other = (small_network(CLASSES, (3, 32, 32), seed=seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    weights = [network.backbone.layers[0][0].weight for network in (one, two, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert one.training


@pytest.mark.filterwarnings("error")
def test_it_learns_in_a_moment() -> None:
    labels = torch.arange(64) % 2
    images = 0.2 * torch.rand(64, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    images[labels == 1, :, 8:16] += 0.5
    network = small_network({"a": mtlue.Classification(2)}, (1, 32, 32), width=8, seed=0)
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    for _ in range(20):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(images)["a"], labels).backward()
        optimizer.step()
    assert (network(images)["a"].argmax(1) == labels).all()
