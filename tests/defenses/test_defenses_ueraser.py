"""UEraser: the worst of several augmentations, sample by sample."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import mtlue
from literal import random_targets
from mtlue._runtime.device import autocast
from mtlue.defenses import UEraser
from mtlue.defenses._ueraser import plasma, sample_losses, smooth_field

DENSE = {"age": mtlue.Classification(5), "parts": mtlue.Segmentation(4), "depth": mtlue.Depth(), "up": mtlue.SurfaceNormals()}


class Dense(nn.Module):
    """Answers all four kinds of task; remembers the images of its calls."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Tanh())
            self.heads = nn.ModuleDict({name: nn.Conv2d(8, task.output_channels, 1) for name, task in DENSE.items()})
        self.seen: list[Tensor] = []

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        self.seen.append(images.detach())
        features = self.body(images)
        maps = {name: head(features) for name, head in self.heads.items()}
        return {**maps, "age": maps["age"].mean(dim=(2, 3))}


def dense_batch(size: int = 5) -> tuple[Tensor, dict[str, Tensor]]:
    images = torch.rand(size, 3, 6, 7, generator=torch.Generator().manual_seed(2))
    return images, random_targets(DENSE, size, (6, 7), seed=4)


class Branching(mtlue.Depth):
    """A task whose loss vmap cannot follow."""

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target)[target != 0].abs().sum() if bool(target.any()) else output.sum() * 0.0


@pytest.mark.parametrize("depth", [mtlue.Depth(), Branching()])
def test_sample_losses_are_those_of_samples_alone(depth: mtlue.Task) -> None:
    images, targets = dense_batch()
    victim = mtlue.Surrogate(Dense().eval(), {**DENSE, "depth": depth})
    losses = sample_losses(victim, images, targets)
    for index in range(len(images)):
        one = slice(index, index + 1)
        alone = victim.losses(images[one], {name: target[one] for name, target in targets.items()})
        torch.testing.assert_close(losses[index], torch.stack(list(alone.values())).sum())
    # The first has no label.
    assert losses[0] == 0.0
    assert (losses[1:] > 0).all()


def test_ueraser_trains_on_the_worst_augmentation_of_each_image(monkeypatch: pytest.MonkeyPatch) -> None:
    images, targets = dense_batch()
    made: list[Tensor] = []

    def augment(self: UEraser, images: Tensor) -> Tensor:
        made.append(plasma(images))
        return made[-1]

    monkeypatch.setattr(UEraser, "augment", augment)
    network, oracle = Dense().train(), Dense().eval()
    victim, reference = mtlue.Surrogate(network, DENSE), mtlue.Surrogate(oracle, DENSE)
    losses = UEraser(count=4).losses(victim, images, targets)
    assert len(made) == 4
    chosen = network.seen[-1]
    places = set()
    for index in range(len(images)):
        one = slice(index, index + 1)
        target = {name: labels[one] for name, labels in targets.items()}
        scores = [float(sum(reference.losses(each[one], target).values()).detach()) for each in made]
        worst = scores.index(max(scores))
        places.add(worst)
        assert torch.equal(chosen[index], made[worst][index])
    assert len(places) > 1
    fresh = mtlue.Surrogate(Dense().train(), DENSE)
    for name, loss in fresh.losses(chosen, targets).items():
        assert torch.equal(losses[name], loss)


def test_the_search_leaves_the_model_as_it_was() -> None:
    images, targets = dense_batch()
    network = Dense().train()
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    worst = UEraser(count=3).worst(mtlue.Surrogate(network, DENSE), images, targets)
    assert not worst.requires_grad
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert all(part.training and not hasattr(part, "grad") for part in network.modules())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())


def test_the_step_after_the_search_trains_all_weights_under_autocast() -> None:
    images, targets = dense_batch()
    network = Dense().train()
    with autocast(torch.device("cpu"), torch.bfloat16):
        losses = UEraser(count=2).losses(mtlue.Surrogate(network, DENSE), images, targets)
        torch.stack([loss.float() for loss in losses.values()]).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters() if parameter.ndim > 1)


def test_plasma_is_smooth_in_range_and_leaves_pixels_in_their_places() -> None:
    torch.manual_seed(0)
    flat = torch.full((64, 3, 16, 12), 0.5)
    flat[:, 0] = 0.55
    result = plasma(flat)
    assert result.shape == flat.shape
    assert 0 <= result.min() <= result.max() <= 1
    assert result.flatten(1).std(dim=1).min() > 0
    # The field is the same in all channels: one is the brightest everywhere, the first unless they changed places.
    order = result.sum(dim=(2, 3)).argsort(dim=1, descending=True)
    brightest = result.gather(1, order[:, :1, None, None].expand(-1, 3, 16, 12))
    assert (brightest >= result).all()
    assert 0.15 < (order[:, 0] != 0).float().mean() < 0.55
    field = smooth_field(torch.zeros(32, 1, 32, 20))
    assert field.shape == (32, 1, 32, 20)
    torch.testing.assert_close(field.amin(dim=(1, 2, 3)), torch.zeros(32))
    torch.testing.assert_close(field.amax(dim=(1, 2, 3)), torch.ones(32))
    # Neighbours differ far less than pixels of a random image, whose mean difference is a third.
    assert field.diff(dim=2).abs().mean() < 0.1
    assert smooth_field(torch.zeros(1, 1, 1, 1)).shape == (1, 1, 1, 1)


def test_wrong_arguments_and_repr() -> None:
    with pytest.raises(ValueError, match="count: expected at least 1, got 0"):
        UEraser(count=0)
    assert repr(UEraser(count=3)) == "UEraser(count=3)"
