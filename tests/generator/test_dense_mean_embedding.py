"""The embedding that stands for «no label» of a task with label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mtlue
from mtlue._runtime.device import autocast
from scenes import DENSE, SceneNet, make_scenes


def maps(count: int, seed: int) -> Tensor:
    return torch.rand(count, 1, 6, 7, generator=torch.Generator().manual_seed(seed)) + 0.1


@pytest.fixture
def embedder() -> mtlue.DenseEmbedder:
    torch.manual_seed(0)
    return mtlue.DenseEmbedder(1, width=3)


def test_it_is_zero_at_first_and_then_the_mean_over_samples_and_pixels(embedder: mtlue.DenseEmbedder) -> None:
    assert torch.equal(embedder.mean_embedding, torch.zeros(6, 1, 1))
    embedding = embedder(maps(4, 0))
    torch.testing.assert_close(embedder.mean_embedding.flatten(), embedding.detach().mean(dim=(0, 2, 3)))
    assert not embedder.mean_embedding.requires_grad


def test_ten_batches_weigh_the_same_and_later_ones_a_tenth(embedder: mtlue.DenseEmbedder) -> None:
    means = [embedder(maps(3, seed)).detach().mean(dim=(0, 2, 3)) for seed in range(10)]
    expected = torch.stack(means).mean(dim=0)
    torch.testing.assert_close(embedder.mean_embedding.flatten(), expected)
    for seed in (11, 12):
        expected = 0.9 * expected + 0.1 * embedder(maps(3, seed)).detach().mean(dim=(0, 2, 3))
    torch.testing.assert_close(embedder.mean_embedding.flatten(), expected)


def test_samples_without_a_label_do_not_count(embedder: mtlue.DenseEmbedder) -> None:
    labels = maps(4, 0)
    labels[[0, 2]] = 0.0
    labels[1, :, 0] = 0.0
    embedding = embedder(labels).detach()
    expected = embedding[[1, 3]].mean(dim=(0, 2, 3))
    torch.testing.assert_close(embedder.mean_embedding.flatten(), expected)
    embedder(torch.zeros(4, 1, 6, 7))
    torch.testing.assert_close(embedder.mean_embedding.flatten(), expected)
    second = embedder(maps(1, 1)).detach().mean(dim=(0, 2, 3))
    torch.testing.assert_close(embedder.mean_embedding.flatten(), (expected + second) / 2)


def test_it_stays_as_it_is_outside_training(embedder: mtlue.DenseEmbedder) -> None:
    embedder(maps(4, 0))
    before = embedder.mean_embedding.clone()
    embedder.eval()(maps(4, 1))
    assert torch.equal(embedder.mean_embedding, before)


def test_it_is_kept_in_float32_when_the_rest_is_not(embedder: mtlue.DenseEmbedder) -> None:
    with autocast(torch.device("cpu"), torch.bfloat16):
        embedding = embedder(maps(4, 0))
    assert embedding.dtype == torch.bfloat16
    assert embedder.mean_embedding.dtype == torch.float32
    torch.testing.assert_close(embedder.mean_embedding.flatten(), embedding.detach().float().mean(dim=(0, 2, 3)))


def test_fit_learns_it_and_a_file_keeps_it(make_generator: Any, tmp_path: Path) -> None:
    generator = make_generator(DENSE, (3, 16, 16))
    settings: dict[str, Any] = {"epochs": 2, "batch_size": 4, "surrogate_steps": 2, "stop_accuracy": 1.1, "progress": False}
    mtlue.fit(generator, make_scenes(), SceneNet(), loss=mtlue.EM(), **settings)
    generator.save(tmp_path / "generator.pt")
    loaded = mtlue.UEGenerator.load(tmp_path / "generator.pt")
    for name in DENSE:
        mean = generator.embedders[name].mean_embedding
        assert bool((mean > 0).any())
        # Three batches an epoch; the surrogate's turns leave it alone.
        assert generator.embedders[name].mean_updates.item() == 6
        assert torch.equal(loaded.embedders[name].mean_embedding, mean)
        assert loaded.embedders[name].mean_updates.item() == 6


def test_a_second_batch_before_the_backward_pass_does_not_disturb_the_first() -> None:
    generator = mtlue.UEGenerator({"depth": mtlue.Depth(), "age": 2}, (3, 8, 8), width=2).train()
    images, targets = torch.rand(2, 3, 8, 8), {"depth": torch.rand(2, 1, 8, 8) + 1, "age": torch.tensor([0, 1])}
    first = generator(images, targets, protected_tasks=["age"])
    generator(images, targets)
    first.sum().backward()
    assert all(parameter.grad is not None for parameter in generator.decoder.parameters())
