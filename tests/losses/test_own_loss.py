"""Losses from outside the package: what forms they may have, and that they are given the clean images."""

from __future__ import annotations

import functools
import random
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from killed_run import parts
from mtlue import baselines, datasets
from mtlue._data import Batch
from mtlue._fit.optimization import perturbed_loss
from mtlue._losses import image_gradient, loss_value, takes_clean_images
from mtlue._tasks import read_targets
from own_losses import Module, as_loss, with_clean


class Transplant(mtlue.BaseUELoss):
    """EM of the perturbation on another image's content, so that it works wherever it lies."""

    def __init__(self, shift: int = 1) -> None:
        self.shift = shift
        self._seen: list[tuple[Tensor, Tensor]] = []

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor) -> Tensor:
        assert not clean.requires_grad
        self._seen.append((images.detach().clone(), clean.clone()))
        return surrogate.loss(clean.roll(self.shift, dims=0) + (images - clean), targets)


def draws_for_each_sample(images: Tensor) -> Tensor:
    """Mirrors some images by torch's random numbers, and shifts each by Python's."""
    mirrored = torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images.flip(-1), images)
    return torch.stack([image.roll(random.randrange(4), dims=-1) for image in mirrored])


class MirrorBoth(datasets.JointTransform):
    """Mirrors some images with their maps."""

    def __call__(self, images: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        flip = torch.rand(len(images), 1, 1, 1) < 0.5
        flipped = {name: torch.where(flip, target.flip(-1), target) for name, target in targets.items()}
        return torch.where(flip, images.flip(-1), images), flipped


def surrogate_for(images: Tensor) -> mtlue.Surrogate:
    torch.manual_seed(3)
    return mtlue.Surrogate(nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 2)), {"a": 2})


def batch_of(images: Tensor) -> Any:
    return Batch(images, read_targets(torch.arange(len(images)) % 2, surrogate_for(images).tasks))


def test_clean_images_come_through_the_same_draw() -> None:
    """Worked out by hand: each sample's perturbation is a row of its own, which tells how the sample was moved."""
    clean = torch.rand(200, 1, 3, 4)
    delta = torch.tensor([1.0, 2.0, 4.0, 8.0]).expand(200, 1, 3, 4) / 255
    loss, surrogate, perturbed = Transplant(), surrogate_for(clean), batch_of(clean + delta)
    torch.manual_seed(0)
    random.seed(0)
    expected = draws_for_each_sample(clean + delta)
    after = torch.rand(()), random.random()
    torch.manual_seed(0)
    random.seed(0)
    perturbed_loss(loss, surrogate, perturbed, clean, draws_for_each_sample)
    # What is drawn next is what would have been drawn without a look at the clean images.
    assert (torch.rand(()), random.random()) == after
    ((images, seen),) = loss._seen
    assert torch.equal(images, expected)
    rows = {tuple(row) for row in (255 * (images - seen)).round().reshape(-1, 4).long().tolist()}
    turns = [(1, 2, 4, 8), (8, 1, 2, 4), (4, 8, 1, 2), (2, 4, 8, 1)]
    assert rows == {row for turn in turns for row in (turn, turn[::-1])}


def test_clean_images_come_through_a_joint_transform() -> None:
    torch.manual_seed(0)
    clean = torch.rand(8, 3, 4, 4)
    depth = {"depth": clean[:, :1].clone()}
    surrogate = mtlue.Surrogate(nn.Conv2d(3, 1, 1), {"depth": mtlue.Depth()})
    told: list[Any] = []

    def loss(surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor) -> Tensor:
        told.append((images, targets["depth"], clean))
        return images.sum()

    loss.trains_surrogate = False  # type: ignore[attr-defined]
    perturbed = Batch(clean + 1 / 255, read_targets(depth, surrogate.tasks))
    perturbed_loss(loss, surrogate, perturbed, clean, MirrorBoth())  # type: ignore[arg-type]  # a function with an attribute
    ((images, targets, seen),) = told
    torch.testing.assert_close(images - seen, torch.full_like(seen, 1 / 255))
    assert torch.equal(targets, seen[:, :1])
    assert not torch.equal(seen, clean)


def test_no_gradient_leads_to_the_clean_images() -> None:
    """Nor to the parameters that augmentation may have."""
    clean, loss = torch.rand(4, 1, 3, 4), Transplant()
    perturbed_loss(loss, surrogate_for(clean), batch_of(clean), clean, nn.Conv2d(1, 1, 1))
    assert len(loss._seen) == 1


@pytest.mark.parametrize("trains_surrogate", [False, True])
def test_pgd_gives_a_loss_the_clean_images_as_they_are(trains_surrogate: bool) -> None:
    """In each step they are those of the data set, even where augmentation works in place."""
    dataset, net, generator = parts()
    loss = Transplant()
    loss.trains_surrogate = trains_surrogate
    settings: dict[str, Any] = {"steps": 3, "step_size": 2.6 / 255, "batch_size": 20, "progress": False}
    baselines.pgd(dataset, tasks=generator.tasks, surrogate=net, loss=loss, augment=lambda images: images.mul_(0.5), **settings)
    images = torch.stack([image for image, _ in dataset]).float() / 255
    assert len(loss._seen) == 3
    for step, (perturbed, clean) in enumerate(loss._seen):
        torch.testing.assert_close(clean, images / 2)
        limit = 2.6 / 255 * step / 2
        assert (perturbed - clean).abs().max() <= limit + 1e-6
        assert (perturbed - clean).abs().max() >= 0.99 * limit


def test_fit_gives_a_loss_the_clean_images() -> None:
    loss = Transplant()
    dataset, net, generator = parts()
    mtlue.fit(generator, dataset, net, loss=loss, epochs=1, batch_size=20, progress=False)
    ((images, clean),) = loss._seen
    assert sorted(clean.flatten(1).sum(1).tolist()) == pytest.approx(
        sorted((image / 255).sum().item() for image, _ in dataset), rel=1e-5
    )
    assert 0 < (images - clean).abs().max() <= generator.epsilon + 1e-6


def plain(surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
    return surrogate.loss(images, targets)


@functools.wraps(with_clean)
def wrapped(*given: Any, **named: Any) -> Tensor:
    return with_clean(*given, **named)


@pytest.mark.parametrize(
    ("loss", "clean"),
    [
        (as_loss(plain), False),
        (as_loss(with_clean), True),
        (as_loss(functools.partial(with_clean, weight=3.0)), True),
        (as_loss(wrapped), True),
        (Module(), True),
        (Transplant(), True),
        (mtlue.EM(), False),
    ],
    ids=["function", "with clean", "partial", "wrapped", "module", "class", "EM"],
)
def test_any_callable_is_a_loss(loss: Any, clean: bool) -> None:
    assert takes_clean_images(loss) == clean
    dataset, net, generator = parts()
    settings: dict[str, Any] = {"loss": loss, "batch_size": 8, "progress": False}
    assert len(mtlue.fit(generator, dataset, net, epochs=1, **settings)) == 1
    assert len(baselines.pgd(dataset, tasks=generator.tasks, surrogate=net, steps=1, **settings)) == 20


def test_a_callable_without_a_signature_takes_no_clean_images() -> None:
    # What is written in C may have none.
    assert not takes_clean_images(max)  # type: ignore[arg-type]


@pytest.mark.parametrize("outside", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_autocast_keeps_no_weights_for_a_loss_that_trains_networks(outside: bool, fails: bool) -> None:
    found = []

    class Asking(Module):
        def forward(self, *given: Any, **named: Any) -> Tensor:
            return asking(*given)

    def asking(*_: Any) -> Tensor:
        found.append(torch.is_autocast_cache_enabled())
        if fails:
            raise RuntimeError
        return torch.zeros(())

    images, before = torch.rand(2, 1, 3, 3), torch.is_autocast_cache_enabled()
    targets = {"a": torch.tensor([0, 1])}
    torch.set_autocast_cache_enabled(outside)
    try:
        for loss, kept in ((as_loss(asking), outside), (Asking(), False)):
            with pytest.raises(ValueError, match="failed: RuntimeError") if fails else nullcontext():
                loss_value(loss, surrogate_for(images), images, targets)
            assert found.pop() == kept
            assert torch.is_autocast_cache_enabled() == outside
    finally:
        torch.set_autocast_cache_enabled(before)


def test_a_loss_that_learns_but_does_not_see_the_images_is_told() -> None:
    weights = torch.ones(2, requires_grad=True)
    with pytest.raises(ValueError, match=r"^surrogate: no gradient reaches the images"):
        image_gradient(weights.sum(), torch.rand(2, 1, 3, 3, requires_grad=True))
