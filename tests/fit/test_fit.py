"""Training the generator: what it learns, from which images and losses."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mtlue
from snapshots import equal, snapshot

QUIET: dict[str, Any] = {"batch_size": 8, "precision": torch.float32, "progress": False}


def test_augmentation_changes_perturbed_images_and_lets_gradients_through(
    canvases: Any, net: nn.Module, make_generator: Any
) -> None:
    given: list[Tensor] = []
    seen: list[Tensor] = []

    def darken(images: Tensor) -> Tensor:
        given.append(images.detach())
        return images * 0.5

    class Watching(mtlue.TAP):
        def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
            assert images.requires_grad
            seen.append(images.detach())
            return super().__call__(surrogate, images, targets)

    generator = make_generator(gain=50.0)
    before = generator.encoder[0][0].weight.clone()
    settings = {**QUIET, "lambda_intra": 0.0, "lambda_inter": 0.0}
    mtlue.fit(generator, canvases[:8], net, loss=Watching(), augment=darken, epochs=1, **settings)
    assert len(given) == len(seen) == 1
    assert torch.equal(seen[0], given[0] * 0.5)
    assert not torch.equal(generator.encoder[0][0].weight, before)
    clean = torch.stack([image for image, _ in canvases[:8]]).float() / 255
    distance = torch.cdist(given[0].flatten(1), clean.flatten(1), p=torch.inf).amin(dim=1)
    assert bool((distance > 0).all())
    assert bool((distance <= 8 / 255 + 1e-6).all())
    assert 0 <= given[0].min() <= given[0].max() <= 1


@pytest.mark.parametrize("loss", [mtlue.TAP(), mtlue.EM()])
def test_base_loss_falls_on_real_data(canvases: Any, net: nn.Module, make_generator: Any, loss: Any) -> None:
    history = mtlue.fit(make_generator(), canvases, net, loss=loss, epochs=8, learning_rate=5e-3, stop_accuracy=1.1, **QUIET)
    base = [epoch.base_loss for epoch in history]
    assert base[-1] < 0.8 * base[0]
    # The embeddings of two classes move apart.
    assert history[-1].intra_er < history[0].intra_er - 0.05
    rows = history.to_rows()
    assert [row["epoch"] for row in rows] == list(range(1, 9))
    for row in rows:
        assert row["loss"] == pytest.approx(row["base_loss"] + 20 * row["intra_er"] + 100 * row["inter_er"], rel=1e-4)
        assert all(torch.tensor(value).isfinite() for value in row.values() if value is not None)
        assert row["seconds"] > 0


def test_a_loss_of_ones_own(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    class Brighten:
        trains_surrogate = False

        def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
            return -images.mean()

    generator = make_generator()
    mtlue.fit(generator, canvases, net, loss=Brighten(), epochs=8, learning_rate=1e-2, **QUIET)
    images = torch.stack([image for image, _ in canvases]).float() / 255
    targets = {name: torch.tensor([target[name] for _, target in canvases]) for name in ("shoe", "front")}
    with torch.no_grad():
        assert generator(images, targets).mean() > 0.5 * 8 / 255


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        (lambda value: value.expand(3), TypeError, r"loss: expected a scalar tensor from Odd, got \(3,\)"),
        (lambda value: value.item(), TypeError, "loss: expected a scalar tensor from Odd, got float"),
        (
            lambda value: value * float("nan"),
            RuntimeError,
            "the loss is no longer finite in epoch 1; try a smaller learning_rate",
        ),
    ],
)
def test_losses_that_cannot_be_minimised(
    canvases: Any, net: nn.Module, make_generator: Any, change: Any, error: Any, words: str
) -> None:
    class Odd(mtlue.TAP):
        def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
            return change(super().__call__(surrogate, images, targets))

    before = snapshot(net)
    with pytest.raises(error, match=words):
        mtlue.fit(make_generator(), canvases, net, loss=Odd(), epochs=2, **QUIET)
    assert equal(snapshot(net), before)


@pytest.mark.parametrize("loss", [mtlue.EM, lambda: mtlue.RestartedEM(count=2)], ids=["EM", "RestartedEM"])
def test_nothing_of_a_finished_training_stays_in_memory(canvases: Any, net: nn.Module, make_generator: Any, loss: Any) -> None:
    generator, made = make_generator(), loss()
    kept = [weakref.ref(generator), weakref.ref(made)]
    gc.collect()
    gc.disable()
    try:
        mtlue.fit(generator, canvases[:16], net, loss=made, epochs=1, **QUIET)
        del generator, made
        assert [each() for each in kept] == [None, None]
    finally:
        gc.enable()


def test_images_of_differing_sizes(make_generator: Any) -> None:
    dataset = [(torch.rand(1, 10 + index % 3, 12 - index % 2), index % 2) for index in range(12)]
    sizes: list[torch.Size] = []
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.register_forward_pre_hook(lambda module, args: sizes.append(args[0].shape[1:]))
    mtlue.fit(make_generator({"a": 2}, (1, 11, 12)), dataset, model, loss=mtlue.EM(), epochs=1, **QUIET)
    assert set(sizes) == {(1, 11, 12)}


def test_batch_size_left_out(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    batches: list[int] = []

    class Watching(mtlue.TAP):
        def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
            batches.append(len(images))
            return F.relu(super().__call__(surrogate, images, targets))

    mtlue.fit(make_generator(), canvases, net, loss=Watching(), epochs=1, progress=False)
    # Two looks at the memory that a step takes, then steps of 8: few samples make small batches.
    assert batches == [4, 2] + [8] * 6
