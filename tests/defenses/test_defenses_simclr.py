"""Contrastive training without labels, and the probe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mtlue
import small_victims
from killed_run import same_state
from mtlue._losses import contrastive_loss, contrastive_view
from mtlue.defenses import SimCLR
from mtlue.evaluation import evaluate, train_victim
from multi_fashion import MultiFashion
from small_rooms import ROOMS, Pointwise, rooms


def test_the_loss_by_hand() -> None:
    """Two images on two axes: a view is as near to its partner as can be, and at a right angle to the other two."""
    projected = torch.tensor([[2.0, 0.0], [0.0, 3.0], [1.0, 0.0], [0.0, 5.0]])
    near, far = torch.tensor(1 / 0.5).exp(), torch.tensor(1.0)
    torch.testing.assert_close(contrastive_loss(projected, 0.5), -(near / (near + 2 * far)).log())
    # The wrong partners: each is at a right angle to its own, and equal to a stranger.
    wrong = contrastive_loss(projected[[0, 2, 1, 3]], 0.5)
    torch.testing.assert_close(wrong, -(far / (near + 2 * far)).log())


class Small(nn.Module):
    def __init__(self, tasks: dict[str, Any]) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 8, 3, 2, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(256, 32), nn.ReLU(),
        )  # fmt: skip
        self.heads = nn.ModuleDict({name: nn.Linear(32, task.num_classes) for name, task in tasks.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.body(images)
        return {name: head(features) for name, head in self.heads.items()}


def clothes(count: int, *, train: bool) -> list[tuple[Tensor, dict[str, int]]]:
    source = MultiFashion(count, train=train)
    images = F.avg_pool2d(source.images.float(), 2).round().byte()
    labels = zip(source.targets["left"].tolist(), source.targets["front"].tolist(), strict=True)
    return [
        (image, {"shoe": int(left in (5, 7, 9)), "front": front}) for image, (left, front) in zip(images, labels, strict=True)
    ]


TASKS = {"shoe": 2, "front": 2}


def test_a_probe_on_features_that_saw_no_label_is_above_chance() -> None:
    train, test = clothes(200, train=True), clothes(200, train=False)
    options: dict[str, Any] = {"tasks": TASKS, "model": Small, "epochs": 6, "batch_size": 25, "progress": False}
    options |= {"transform": small_victims.plain, "learning_rate": 3e-3}
    defense = SimCLR(probe_steps=150, probe_learning_rate=0.03)
    victim = train_victim(train, defense=defense, **options)
    found = evaluate(victim, test, tasks=TASKS)
    assert found["shoe"]["balanced_accuracy"] > 0.75
    # With other labels the features are the same to the last bit, and the heads are others.
    flipped = [(image, {name: 1 - label for name, label in labels.items()}) for image, labels in train]
    other = train_victim(flipped, defense=defense, **options)
    assert same_state(victim.body, other.body)
    assert not same_state(victim.heads, other.heads)
    assert evaluate(other, test, tasks=TASKS)["shoe"]["balanced_accuracy"] < 0.25


def test_the_loss_falls_and_carries_its_gradient_to_the_features() -> None:
    torch.manual_seed(0)
    module = Small({"shoe": mtlue.Classification(2)})
    victim, defense = mtlue.Surrogate(module, {"shoe": 2}), SimCLR()
    images = torch.stack([image for image, _ in clothes(16, train=True)]).float() / 255
    targets = {"shoe": torch.arange(16) % 2}
    optimizer, values = torch.optim.Adam(module.parameters(), lr=3e-3), []
    for _ in range(60):
        optimizer.zero_grad()
        loss = defense.losses(victim, images, targets)["shoe"]
        loss.backward()
        optimizer.step()
        values.append(float(loss.detach()))
    assert sum(values[-5:]) < 0.95 * sum(values[:5])
    assert module.heads["shoe"].weight.grad is None


def test_an_interrupted_training_goes_on(tmp_path: Path) -> None:
    def stop(epoch: int, _: nn.Module) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    def train(path: Path | None, after_epoch: Any = None) -> nn.Module:
        options = {**small_victims.OPTIONS, "epochs": 4, "defense": SimCLR(probe_steps=5), "checkpoint": path}
        return train_victim(
            small_victims.two_task_set(), model=lambda tasks: small_victims.net(), after_epoch=after_epoch, **options
        )

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "victim.pt", stop)
    assert same_state(train(tmp_path / "victim.pt"), train(None))


class Deeper(Pointwise):
    """A pointwise model with a layer before its heads."""

    def __init__(self, tasks: Any) -> None:
        super().__init__(tasks)
        self.before = nn.Conv2d(3, 3, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return super().forward(self.before(images))


def test_label_maps_are_probed_at_every_pixel() -> None:
    data: Any = rooms(8, seed=0)
    options: dict[str, Any] = {"tasks": ROOMS, "model": Deeper, "epochs": 2, "batch_size": 4, "progress": False}
    with pytest.raises(ValueError, match="model: SimCLR trains what comes before the heads, and Pointwise has only heads"):
        train_victim(data, defense=SimCLR(), **{**options, "model": Pointwise})
    victim = train_victim(data, defense=SimCLR(probe_steps=100, probe_learning_rate=0.1), **options)
    assert evaluate(victim, data, tasks=ROOMS)["parts"]["miou"] > 0.3


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_view_is_in_range_and_another_each_time(channels: int) -> None:
    torch.manual_seed(0)
    images = torch.rand(6, channels, 9, 12)
    first, second = contrastive_view(images), contrastive_view(images)
    assert first.shape == images.shape
    assert all(0 <= each.min() <= each.max() <= 1 for each in (first, second))
    assert not torch.equal(first, second)
    # Of an image of one colour only the colour changes.
    flat = contrastive_view(torch.full((4, 1, 6, 6), 0.5))
    torch.testing.assert_close(flat, flat[:, :, :1, :1].expand_as(flat))


@pytest.mark.parametrize(
    ("error", "message", "changes"),
    [
        (ValueError, "temperature: expected a number > 0, got 0", {"temperature": 0}),
        (ValueError, "width: expected at least 1, got 0", {"width": 0}),
        (ValueError, "probe_steps: expected at least 1, got 0", {"probe_steps": 0}),
        (TypeError, "heads: expected a function from the model to its parameters, got 3", {"heads": 3}),
    ],
)
def test_wrong_arguments(error: Any, message: str, changes: dict[str, Any]) -> None:
    with pytest.raises(error, match=message):
        SimCLR(**changes)


def test_a_probe_needs_images() -> None:
    with pytest.raises(RuntimeError, match="defense: SimCLR has no images for its probe before prepare"):
        SimCLR().finish(mtlue.Surrogate(nn.Linear(1, 2), {"a": 2}))
