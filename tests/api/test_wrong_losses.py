"""Losses and augmentation that no generator can be trained with are refused in the first step, and fine ones are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import mtlue
from mtlue.baselines import pgd
from refusals import Refused, Without


class Lossy(mtlue.BaseUELoss):
    """A loss of the user's own that does what it is told to."""

    def __init__(self, form: Callable[..., Any]) -> None:
        self.form = form

    def __call__(self, surrogate: Any, images: Any, targets: Any) -> Any:
        return self.form(surrogate.loss(images, targets))


class Forward(mtlue.BaseUELoss):
    """The wrong method."""

    def forward(self, surrogate: Any, images: Any, targets: Any) -> Any:
        return surrogate.loss(images, targets)


class TwoArguments(mtlue.BaseUELoss):
    """The wrong arguments."""

    def __call__(self, outputs: Any, targets: Any) -> Any:  # type: ignore[override]  # wrong on purpose
        return outputs


@pytest.mark.parametrize("batch_size", [8, None])
@pytest.mark.parametrize(
    ("loss", "error", "words"),
    [
        (Lossy(lambda value: {}["shoe"]), ValueError, "loss: Lossy failed: KeyError: 'shoe'"),
        (TwoArguments(), ValueError, r"loss: TwoArguments failed: TypeError: .*takes 3 positional arguments but 4 were given"),
        (Forward(), TypeError, "loss: expected a scalar tensor from Forward, got NoneType; override __call__"),
        (Lossy(lambda value: None), TypeError, "from Lossy, got NoneType; is a return missing in its __call__"),
        (Lossy(lambda value: value.expand(3)), TypeError, r"loss: expected a scalar tensor from Lossy, got \(3,\)"),
    ],
)
def test_a_loss_of_ones_own(refused: Refused, canvases: Any, loss: Any, error: Any, words: str, batch_size: Any) -> None:
    refused(canvases, error, words, loss=loss, batch_size=batch_size, in_first_step=True)


def test_a_loss_that_fails_keeps_its_cause(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    loss = Lossy(lambda value: {}["shoe"])
    with pytest.raises(ValueError, match="loss: Lossy failed") as caught:
        mtlue.fit(make_generator(), canvases, net, loss=loss, progress=False)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_loss_that_fails_does_so_before_a_surrogate_is_trained(canvases: Any) -> None:
    steps: list[Any] = []
    with pytest.raises(ValueError, match="loss: Lossy failed: KeyError"):
        mtlue.protect(canvases[:6], loss=Lossy(lambda value: {}["shoe"]), epochs=1, batch_size=6, progress=steps.append)
    assert steps == []


@torch.no_grad()
def half(images: torch.Tensor) -> torch.Tensor:
    return images / 2


NO_GRADIENT = "surrogate: no gradient reaches the images; is there torch.no_grad, .detach\\(\\) or a conversion to bytes"


@pytest.mark.parametrize("loss", ["em", "tap", "sep"])
@pytest.mark.parametrize("step", [half, torch.Tensor.detach, lambda images: (255 * images).byte().float() / 255])
def test_no_gradient_passes_the_surrogate(refused: Refused, canvases: Any, net: nn.Module, loss: str, step: Any) -> None:
    blind = Without(net, step)
    losses = {"em": mtlue.EM(), "tap": mtlue.TAP(), "sep": mtlue.SEP([blind])}
    refused(canvases, ValueError, NO_GRADIENT, surrogate=blind, loss=losses[loss], in_first_step=True)
    with pytest.raises(ValueError, match=NO_GRADIENT):
        pgd(canvases, tasks={"shoe": 2, "front": 2}, surrogate=blind, loss=losses[loss], steps=1, batch_size=8, progress=False)


def test_no_gradient_passes_the_loss_or_the_augmentation(
    refused: Refused, canvases: Any, net: nn.Module, make_generator: Any
) -> None:
    blind = Lossy(torch.Tensor.detach)
    refused(canvases, ValueError, NO_GRADIENT, loss=blind, in_first_step=True)
    settings: dict[str, Any] = {"batch_size": 8, "progress": False}
    for given in ({"loss": blind}, {"loss": mtlue.TAP(), "augment": torch.Tensor.detach}):
        with pytest.raises(ValueError, match=NO_GRADIENT):
            mtlue.fit(make_generator(), canvases, net, **given, **settings)
        with pytest.raises(ValueError, match=NO_GRADIENT):
            pgd(canvases, tasks={"shoe": 2, "front": 2}, surrogate=net, steps=1, **given, **settings)


def test_a_gradient_of_zero_is_one(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    history = mtlue.fit(
        make_generator(), canvases[:8], net, loss=Lossy(lambda value: (value - 1e6).relu()), epochs=1, progress=False
    )
    assert history[0].base_loss == 0.0


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        (lambda images: images.expand(-1, 3, -1, -1), r"got \(8, 3, 16, 16\), torch.float32"),
        (lambda images: images.double(), r"got \(8, 1, 16, 16\), torch.float64"),
        (lambda images: (255 * images).byte(), r"got \(8, 1, 16, 16\), torch.uint8"),
        (lambda images: images.flatten(1), r"got \(8, 256\), torch.float32"),
    ],
)
def test_augmentation_of_another_form(canvases: Any, net: nn.Module, make_generator: Any, augment: Any, words: str) -> None:
    settings: dict[str, Any] = {"loss": mtlue.TAP(), "augment": augment, "batch_size": 8, "progress": False}
    words = r"augment: expected images with the same channels and dtype, \(B, 1, H, W\), torch.float32, " + words
    with pytest.raises(ValueError, match=words):
        mtlue.fit(make_generator(), canvases, net, **settings)
    with pytest.raises(ValueError, match=words):
        pgd(canvases, tasks={"shoe": 2, "front": 2}, surrogate=net, steps=1, **settings)


def test_augmentation_may_crop(canvases: Any, make_generator: Any) -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16, 2))
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 8, "progress": False, "augment": lambda images: images[..., 2:, 1:]}
    assert len(mtlue.fit(make_generator(), canvases[:8], net, loss=mtlue.EM(), **settings)) == 1


class Labelled(mtlue.BaseUELoss):
    """A loss that is a constant where no label of the batch is known."""

    def __call__(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: Any) -> torch.Tensor:
        known = any(bool((target >= 0).any()) for target in targets.values())
        return surrogate.adversarial_loss(images, targets) if known else torch.zeros(())


def test_a_loss_may_be_a_constant_where_nothing_is_labelled(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    nothing = [(image, dict.fromkeys(targets, -1)) for image, targets in canvases[:14]]
    sparse = [*nothing, *canvases[14:16]]
    settings: dict[str, Any] = {"loss": Labelled(), "epochs": 1, "batch_size": 2, "progress": False}
    for seed in range(3):
        assert len(mtlue.fit(make_generator(), sparse, net, seed=seed, **settings)) == 1


def test_a_loss_that_is_always_a_constant(canvases: Any, net: nn.Module, make_generator: Any, tmp_path: Any) -> None:
    class Constant(mtlue.BaseUELoss):
        def __call__(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: Any) -> torch.Tensor:
            return torch.zeros(())

    with pytest.raises(ValueError, match="no gradient reaches the images"):
        mtlue.fit(make_generator(), canvases, net, loss=Constant(), checkpoint=tmp_path / "run.pt", progress=False)
    assert not (tmp_path / "run.pt").exists()
