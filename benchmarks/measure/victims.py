"""Victims, and what they learn: balanced accuracy, and the share of what clean images would have taught."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from measure.sets import Data, Images
from measure.views import moved
from mtlue.defenses import StrongAugmentation, grayscale, jpeg
from small_resnet import SmallResNet


@dataclass(frozen=True)
class Training:
    """How victims are trained: Adam with one cycle, on shifted images, mirrored where that keeps the labels.

    Attributes:
        epochs: Passes over the images.
        width: Channels of the first block.
        batch_size: Images a step.
        learning_rate: The largest of the cycle.
    """

    epochs: int = 8
    width: int = 16
    batch_size: int = 64
    learning_rate: float = 3e-3


#: What somebody may do to the images before training on them.
TREATMENTS: dict[str, Callable[[Tensor], Tensor] | None] = {
    "": None,
    "JPEG 10": lambda images: jpeg(images, quality=10),
    "grey": grayscale,
    "strong augmentation": None,
}


def network(tasks: dict[str, int], *, channels: int, width: int) -> nn.Module:
    """A new victim, surrogate or student, in the layout that is fastest on a processor."""
    made: nn.Module = SmallResNet(tasks, channels=channels, width=width).to(memory_format=torch.channels_last)
    return made


def train(
    images: Images,
    tasks: dict[str, int],
    training: Training,
    *,
    flips: bool,
    seed: int,
    treatment: str = "",
    device: str = "cpu",
    start: nn.Module | None = None,
    after_epoch: Callable[[nn.Module], None] | None = None,
) -> nn.Module:
    """A network trained on some tasks of labelled images: a new one, or ``start``, in place.

    ``after_epoch`` is called with it after each epoch.
    """
    pixels = images.pixels.float() / 255
    change = TREATMENTS[treatment]
    if change is not None:
        pixels = change(pixels)
    strong = StrongAugmentation() if treatment == "strong augmentation" else None
    pixels, labels = pixels.to(device), {name: images.labels[name].to(device) for name in tasks}
    steps = len(pixels) // training.batch_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = start or network(tasks, channels=pixels.shape[1], width=training.width)
        model.to(device).train()
        optimizer = torch.optim.Adam(model.parameters(), lr=training.learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=training.learning_rate, total_steps=training.epochs * steps
        )
        for _ in range(training.epochs):
            for batch in torch.randperm(len(pixels))[: steps * training.batch_size].split(training.batch_size):
                seen = moved(pixels[batch], flips=flips)
                if strong is not None:
                    seen = strong.images(seen.cpu()).to(device)
                outputs = model(seen)
                loss = torch.stack([F.cross_entropy(outputs[name], labels[name][batch]) for name in tasks]).mean()
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
            if after_epoch is not None:
                after_epoch(model)
    return model.eval()


@torch.no_grad()
def answers(model: nn.Module, pixels: Tensor) -> dict[str, Tensor]:
    """Logits by task of all images (N, C, H, W), uint8."""
    device = next(model.parameters()).device
    parts = [model(part.to(device).float() / 255) for part in pixels.split(500)]
    return {name: torch.cat([part[name] for part in parts]).cpu() for name in parts[0]}


def balanced_accuracies(model: nn.Module, data: Data, tasks: Iterable[str]) -> dict[str, float]:
    """Mean over classes of the share of right answers on clean test images, by task.

    The training rates are taken out of the answers first: otherwise a rare class is hardly ever given, by whatever victim.
    """
    logits = answers(model, data.test.pixels)
    found = {}
    for name in tasks:
        classes = data.tasks[name]
        rates = data.train.labels[name].bincount(minlength=classes).float() / len(data.train)
        given = (logits[name] - rates.clamp_min(1e-6).log()).argmax(dim=1)
        label = data.test.labels[name]
        rights = [(given[label == each] == each).float().mean() for each in range(classes) if bool((label == each).any())]
        found[name] = round(torch.stack(rights).mean().item(), 4)
    return found


def learnability(accuracy: float, clean: float, classes: int) -> float:
    """R: the share of what clean images teach above chance that these images teach; 0 is nothing.

    Not a number where clean images teach nothing either.
    """
    return math.nan if clean <= 1 / classes else (accuracy - 1 / classes) / (clean - 1 / classes)


def victim(
    data: Data, images: Images, tasks: tuple[str, ...], training: Training, *, seed: int, treatment: str, device: str = "cpu"
) -> dict[str, float]:
    """Balanced accuracy by task of a new victim of some tasks."""
    chosen = {name: data.tasks[name] for name in tasks}
    model = train(images, chosen, training, flips=data.flips, seed=seed, treatment=treatment, device=device)
    return balanced_accuracies(model, data, tasks)
