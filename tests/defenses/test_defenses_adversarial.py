"""Adversarial training: the search stays within its bounds, finds what it should, and leaves the model alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue.defenses import AdversarialTraining

TASKS = {"age": 5, "young": 2, "depth": mtlue.Depth()}
RADIUS = 8 / 255


class Network(nn.Module):
    """A small model with batch normalisation, dropout, and a head for each task."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.body = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Tanh(), nn.Dropout(0.3))
            self.heads = nn.ModuleDict({"age": nn.Linear(6, 5), "young": nn.Linear(6, 1), "depth": nn.Conv2d(6, 1, 1)})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.body(images)
        pooled = features.mean(dim=(2, 3))
        return {name: head(features if name == "depth" else pooled) for name, head in self.heads.items()}


def batch(size: int = 6) -> tuple[Tensor, dict[str, Tensor]]:
    random = torch.Generator().manual_seed(7)
    images = torch.rand(size, 3, 5, 4, generator=random)
    images[0, 0, 0] = torch.tensor([0.0, 1.0, 0.01, 0.99])
    targets = {
        "age": torch.randint(-1, 5, (size,), generator=random),
        "young": torch.randint(0, 2, (size,), generator=random),
        "depth": torch.rand(size, 1, 5, 4, generator=random),
    }
    return images, targets


def test_the_images_are_in_range_within_the_radius_and_worse_for_the_model() -> None:
    images, targets = batch()
    victim = mtlue.Surrogate(Network().eval(), TASKS)
    attacked = AdversarialTraining().attack(victim, images, targets)
    assert not attacked.requires_grad
    assert 0 <= attacked.min() <= attacked.max() <= 1
    assert RADIUS / 2 < (attacked - images).abs().max() <= RADIUS + 1e-6
    random = torch.Generator().manual_seed(1)
    nearby = (images + RADIUS * torch.rand(images.shape, generator=random).sub(0.5).sign()).clamp(0, 1)
    clean = victim.loss(images, targets).detach()
    assert victim.loss(attacked, targets) - clean > 5 * abs(victim.loss(nearby, targets) - clean)


def test_on_a_linear_model_the_corner_of_the_box_is_found() -> None:
    """The loss of the logit w x at label 1 grows along -sign(w): the worst image is x - radius sign(w), clamped."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(4, 1, bias=False))
    weights = torch.tensor([[2.0, -0.5, 1.0, -3.0]])
    net[1].load_state_dict({"weight": weights})
    images = torch.tensor([[0.5, 0.5, 0.01, 0.99], [0.2, 0.0, 1.0, 0.4]]).reshape(2, 1, 2, 2)
    defense = AdversarialTraining(radius=0.1, step_size=0.04, steps=6)
    attacked = defense.attack(mtlue.Surrogate(net, {"young": 2}), images, {"young": torch.tensor([1, 1])})
    torch.testing.assert_close(attacked.flatten(1), (images.flatten(1) - 0.1 * weights.sign()).clamp(0, 1))


def test_the_search_starts_at_random_and_goes_in_steps() -> None:
    """One step of nearly nothing leaves the random start."""
    images, targets = batch()
    victim = mtlue.Surrogate(Network().eval(), TASKS)
    torch.manual_seed(0)
    start, other = (AdversarialTraining(step_size=1e-9, steps=1).attack(victim, images, targets) for _ in range(2))
    assert not torch.equal(start, other)
    assert (start - images)[images.sub(0.5).abs() < 0.4].std() == pytest.approx(RADIUS / 3**0.5, rel=0.1)
    torch.manual_seed(0)
    stepped = AdversarialTraining(step_size=1 / 255, steps=1).attack(victim, images, targets)
    assert (stepped - start).abs().max() <= 1 / 255 + 1e-6
    assert (stepped - start).abs().mean() > 0.5 / 255


@pytest.mark.parametrize("tasks", [TASKS, {"young": 2}])
def test_the_loss_is_that_of_training_on_the_images_found(tasks: dict[str, mtlue.Task | int]) -> None:
    images, targets = batch()
    network, oracle = Network().train(), Network().train()
    victim, defense = mtlue.Surrogate(network, tasks), AdversarialTraining(steps=2)
    torch.manual_seed(3)
    losses = defense.losses(victim, images, targets)
    torch.manual_seed(3)
    expected = mtlue.Surrogate(oracle, tasks)
    by_hand = expected.losses(defense.attack(expected, images, targets), targets)
    assert list(losses) == list(tasks)
    for name in tasks:
        assert torch.equal(losses[name], by_hand[name])
        assert losses[name].requires_grad
    # One training step's worth of statistics, and no more.
    for buffer, value in network.named_buffers():
        assert torch.equal(value, dict(oracle.named_buffers())[buffer])
    assert network.body[1].num_batches_tracked == 1


@pytest.mark.parametrize("training", [True, False])
def test_the_search_leaves_the_model_as_it_was(training: bool) -> None:
    images, targets = batch()
    network = Network().train(training)
    network.body[0].weight.requires_grad_(False)
    network.body[0].bias.grad = torch.ones(6)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.no_grad():
        attacked = AdversarialTraining(steps=2).attack(mtlue.Surrogate(network, TASKS), images, targets)
    assert not torch.equal(attacked, images)
    assert all(torch.equal(tensor, state[name]) for name, tensor in network.state_dict().items())
    assert all(part.training is training for part in network.modules())
    assert [name for name, parameter in network.named_parameters() if not parameter.requires_grad] == ["body.0.weight"]
    assert [name for name, parameter in network.named_parameters() if parameter.grad is not None] == ["body.0.bias"]
    assert torch.equal(network.body[0].bias.grad, torch.ones(6))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"radius": 0}, ValueError, "radius: expected a number > 0, got 0"),
        ({"radius": 8}, ValueError, "radius: expected 0 < radius <= 1, got 8"),
        ({"step_size": -1.0}, ValueError, "step_size: expected a number > 0, got -1.0"),
        ({"steps": 0}, ValueError, "steps: expected at least 1, got 0"),
        ({"steps": 2.5}, TypeError, "steps: expected an int, got 2.5"),
    ],
)
def test_wrong_arguments(arguments: dict[str, float], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        AdversarialTraining(**arguments)  # type: ignore[arg-type]  # wrong on purpose


def test_the_repr_is_the_call() -> None:
    assert repr(AdversarialTraining(radius=0.5, steps=3)) == "AdversarialTraining(radius=0.5, step_size=0.007843, steps=3)"
    assert AdversarialTraining().name == "AdversarialTraining"
