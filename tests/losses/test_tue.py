"""Transferable unlearnable examples: a loss without labels, and perturbations that are told apart by class."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mtlue
from mtlue import baselines
from mtlue._losses.tue import separability
from multi_fashion import MultiFashion


def net(tasks: dict[str, int], pixels: int = 64, *, seed: int = 0) -> nn.Module:
    class Heads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(pixels, 16), nn.ReLU())
            self.heads = nn.ModuleList(nn.Linear(16, classes) for classes in tasks.values())

        def forward(self, images: Tensor) -> list[Tensor]:
            return [head(self.body(images)) for head in self.heads]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Heads()


def test_the_discriminant_by_hand() -> None:
    """Two classes of points at a distance of 1 from centres that are 4 apart, and one of a single point, 3 from the first."""
    points = torch.tensor([[0.0, 1.0], [0.0, -1.0], [4.0, 1.0], [4.0, -1.0], [0.0, 3.0], [9.0, 9.0]])
    classes = torch.tensor([0, 0, 1, 1, 2, -1])
    expected = ((1 + 1) / 4 + (1 + 0) / 3 + (1 + 0) / 5) / 3
    torch.testing.assert_close(separability(points, classes), torch.tensor(expected), rtol=1e-4, atol=1e-4)
    assert separability(points, torch.tensor([0, 0, 0, -1, -1, -1])) == 0


def test_without_a_perturbation_its_gradient_is_none_and_finite() -> None:
    nothing = torch.zeros(4, 3, requires_grad=True)
    value = separability(nothing, torch.tensor([0, 0, 1, 1]))
    assert value == 1
    (gradient,) = torch.autograd.grad(value, nothing)
    assert gradient.isfinite().all()


def test_labels_are_in_the_discriminant_alone() -> None:
    tasks = {"a": 2, "b": 3}
    surrogate = mtlue.Surrogate(net(tasks), tasks)
    clean = torch.rand(8, 1, 8, 8)
    images = (clean + 0.03 * torch.randn(8, 1, 8, 8)).clamp(0, 1).requires_grad_()
    some, others = ({"a": labels % 2, "b": labels % 3} for labels in (torch.arange(8), torch.arange(8) // 4))

    def values(weight: float, targets: dict[str, Tensor]) -> Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return mtlue.TUE(weight=weight)(surrogate, images, targets, clean)

    assert values(0.0, some) == values(0.0, others)
    assert values(1.0, some) != values(1.0, others)
    (gradient,) = torch.autograd.grad(values(0.0, some), images)
    assert gradient.abs().max() > 0
    added = values(1.0, some) - values(0.0, some)
    flat = (images - clean).flatten(1)
    torch.testing.assert_close(added, (separability(flat, some["a"]) + separability(flat, some["b"])) / 2)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in surrogate.module.parameters())


def test_a_search_makes_perturbations_that_are_told_apart_by_class() -> None:
    source, tasks = MultiFashion(60, train=True), {"shoe": 2, "front": 2}
    images = F.avg_pool2d(source.images.float(), 4).round().byte()
    shoe = torch.isin(source.targets["left"], torch.tensor([5, 7, 9])).long()
    labels = {"shoe": shoe, "front": source.targets["front"]}
    dataset = [(image, {name: int(labels[name][index]) for name in tasks}) for index, image in enumerate(images)]
    search: dict[str, Any] = {"rounds": 2, "steps": 10, "step_size": 1.6 / 255, "surrogate_steps": 3, "batch_size": 60}

    def perturbations(loss: mtlue.BaseUELoss, module: nn.Module) -> Tensor:
        safe = baselines.pgd(dataset, tasks=tasks, surrogate=module, loss=loss, progress=False, **search)
        return torch.stack([image for image, _ in safe]).flatten(1) - images.flatten(1) / 255

    module = net(tasks)
    before = [parameter.clone() for parameter in module.parameters()]
    found, plain = perturbations(mtlue.TUE(weight=10), module), perturbations(mtlue.EM(), net(tasks))
    for each in labels.values():
        assert separability(found, each) < min(1.0, separability(plain, each))
    # The surrogate has learned, but for its heads.
    learned = [not torch.equal(*pair) for pair in zip(before, module.parameters(), strict=True)]
    assert learned == [True, True, False, False, False, False]


def test_label_maps_alone_are_refused() -> None:
    surrogate = mtlue.Surrogate(nn.Conv2d(3, 1, 1), {"depth": mtlue.Depth()})
    images = torch.rand(2, 3, 4, 4)
    with pytest.raises(ValueError, match=r"tasks: TUE tells classes of images apart, .* got label maps"):
        mtlue.TUE()(surrogate, images, {"depth": torch.rand(2, 1, 4, 4)}, images)


@pytest.mark.parametrize(
    ("error", "message", "changes"),
    [
        (ValueError, "weight: expected a number >= 0, got -1", {"weight": -1}),
        (ValueError, "temperature: expected a number > 0, got 0", {"temperature": 0}),
        (TypeError, "heads: expected a function from the model to its parameters, got 3", {"heads": 3}),
    ],
)
def test_wrong_arguments(error: Any, message: str, changes: dict[str, Any]) -> None:
    with pytest.raises(error, match=message):
        mtlue.TUE(**changes)
