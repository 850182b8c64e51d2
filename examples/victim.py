"""A small network, and how it is trained: the surrogate of the examples, and the victims that try to learn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models.resnet import BasicBlock


class SmallResNet(nn.Module):
    """Three residual blocks, and a linear head for each task.

    Args:
        tasks: Number of classes by task name.
        channels: Channels of the images.
        width: Channels of the first block; the last has four times as many.
    """

    def __init__(self, tasks: Mapping[str, int], *, channels: int = 1, width: int = 16) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            _halving_block(width, width),
            _halving_block(width, 2 * width),
            _halving_block(2 * width, 4 * width),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        self.heads = nn.ModuleDict({name: nn.Linear(16 * width, classes) for name, classes in tasks.items()})

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits by task name."""
        features = self.features(images)
        return {name: head(features) for name, head in self.heads.items()}


def _halving_block(channels: int, out: int) -> BasicBlock:
    shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride=2, bias=False), nn.BatchNorm2d(out))
    return BasicBlock(channels, out, stride=2, downsample=shortcut)


def random_shift(images: Tensor, pixels: int = 3) -> Tensor:
    """Move each image by up to some pixels; the border is repeated. Gradients pass through."""
    count, channels, height, width = images.shape
    padded = F.pad(images, [pixels] * 4, mode="replicate")
    rows = torch.arange(height) + torch.randint(2 * pixels + 1, (count, 1))
    columns = torch.arange(width) + torch.randint(2 * pixels + 1, (count, 1))
    sample, channel = torch.arange(count).reshape(-1, 1, 1, 1), torch.arange(channels).reshape(1, -1, 1, 1)
    return padded[sample, channel, rows.reshape(count, 1, height, 1), columns.reshape(count, 1, 1, width)]


def load_all(dataset: Dataset[Any]) -> tuple[Tensor, dict[str, Tensor]]:
    """All images as floats in [0, 1], and all targets: these sets are small."""
    images, targets = next(iter(DataLoader(dataset, batch_size=len(dataset))))  # type: ignore[arg-type]  # it has a length
    return images / 255 if images.dtype == torch.uint8 else images, targets


@dataclass(frozen=True)
class Training:
    """A trained network, its loss after each epoch, and its states at equal distances along the way."""

    model: SmallResNet
    losses: list[float]
    states: list[dict[str, Tensor]]


def train(
    dataset: Dataset[Any], tasks: Mapping[str, int], *, epochs: int, seed: int = 0, batch_size: int = 64, keep: int = 0
) -> Training:
    """Train a network on some or all tasks of a set, and keep so many of its states, the last one among them."""
    images, targets = load_all(dataset)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SmallResNet(tasks, channels=images.shape[1])
        optimizer = torch.optim.Adam(model.parameters())
        steps = len(images) // batch_size
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-3, total_steps=epochs * steps)
        kept_at = {round(number * epochs * steps / keep) for number in range(1, keep + 1)}
        losses, states = [0.0] * epochs, []
        for epoch in range(epochs):
            order = torch.randperm(len(images))[: steps * batch_size]
            for step, batch in enumerate(order.split(batch_size), start=1):
                outputs = model(random_shift(images[batch]))
                loss = torch.stack([F.cross_entropy(outputs[name], targets[name][batch]) for name in tasks]).mean()
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
                losses[epoch] += loss.item() / steps
                if epoch * steps + step in kept_at:
                    states.append({name: value.clone() for name, value in model.state_dict().items()})
    return Training(model.eval(), losses, states)


@torch.no_grad()
def accuracies(model: SmallResNet, dataset: Dataset[Any], tasks: Sequence[str]) -> dict[str, float]:
    """Share of right answers on each task."""
    images, targets = load_all(dataset)
    outputs = [model(part) for part in images.split(500)]
    return {
        name: (torch.cat([output[name] for output in outputs]).argmax(dim=1) == targets[name]).float().mean().item()
        for name in tasks
    }
