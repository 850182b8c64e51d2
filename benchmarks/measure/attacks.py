"""What somebody may do to protected images who has more than them: clean twins, the key, or a second protection."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

import mtlue
from measure.sets import Data

_LEVELS = 8
_WIDTH, _STEPS, _BATCH, _RATE = 16, 300, 64, 3e-3


def take_off(protected: Tensor, levels: Tensor) -> Tensor:
    """Protected images, uint8, without a perturbation in levels of 1/255."""
    return (protected.float() - levels).round().clamp(0, 255).to(torch.uint8)


def psnr(found: Tensor, clean: Tensor) -> float:
    """Peak signal-to-noise ratio of 8-bit images, in dB; infinite where they are equal."""
    error = (found.double() - clean.double()).square().mean().item()
    return 10 * math.log10(255**2 / error) if error else math.inf


def subtract_means(data: Data, protected: Tensor, known: int) -> Tensor:
    """Protected images without what their classes add on average, which the first ``known`` pairs tell.

    A perturbation is taken for a sum of one image for each class of each task, fitted by least squares with a small penalty.
    """
    classes = [F.one_hot(data.train.labels[name], count) for name, count in data.tasks.items()]
    design = torch.cat(classes, dim=1).float()
    change = (protected[:known].float() - data.train.pixels[:known].float()).flatten(1)
    seen = design[:known]
    penalty = torch.eye(design.shape[1])
    weights = torch.linalg.solve(seen.T @ seen + penalty, seen.T @ change)
    return take_off(protected, (design @ weights).clamp(-_LEVELS, _LEVELS).reshape(protected.shape))


def learn_perturbations(data: Data, protected: Tensor, known: int, *, seed: int) -> Tensor:
    """Protected images without what a network takes for their perturbation, which learned it from the first ``known`` pairs.

    The network is a generator of the library's kind, at half size as the default's, that is given the protected image in
    place of the clean one: whoever attacks has the library too, and the labels.
    """
    channels, height, width = protected.shape[1:]
    half = (channels, (height + 1) // 2, (width + 1) // 2)
    targets = data.train.labels
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = mtlue.UEGenerator(dict(data.tasks), half, width=_WIDTH, epsilon=_LEVELS / 255)
        optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=_RATE, total_steps=_STEPS)
        for _ in range(_STEPS):
            part = torch.randperm(known)[:_BATCH]
            shown = protected[part].float()
            levels = 255 * network(shown / 255, {name: label[part] for name, label in targets.items()})
            loss = (levels - (shown - data.train.pixels[part].float())).abs().mean()
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            optimizer.step()
            schedule.step()
    return take_off(protected, _levels(network.eval(), protected, targets))


def invert(generator: mtlue.UEGenerator, protected: Tensor, labels: dict[str, Tensor], *, rounds: int = 10) -> Tensor:
    """Clean images by the key: x with x + perturbation(x) = the protected image, by fixed-point iteration.

    Of each image the round is kept whose own protection comes nearest to the protected image.
    """
    shown, clean = protected.float(), protected
    best, least = protected, torch.full((len(protected),), math.inf)
    for _ in range(rounds):
        levels = _levels(generator, clean, labels).round()
        missed = ((clean.float() + levels).clamp(0, 255) - shown).abs().flatten(1).mean(dim=1)
        nearer = (missed < least).reshape(-1, 1, 1, 1)
        best, least = torch.where(nearer, clean, best), torch.minimum(missed, least)
        clean = take_off(protected, levels)
    return best


def average(first: Tensor, second: Tensor) -> Tensor:
    """The middle of two protections of the same images.

    Where they differ by the whole budget up and down, it is the clean pixel; where they agree nothing is gained.
    """
    return ((first.int() + second.int() + 1) // 2).to(torch.uint8)


def blurred(images: Tensor) -> Tensor:
    """Floats in [0, 1] after a Gaussian blur of one pixel's standard deviation."""
    distance = torch.arange(-2, 3).float()
    line = torch.exp(-distance.square() / 2)
    kernel = torch.outer(line, line) / line.sum().square()
    channels = images.shape[1]
    padded = F.pad(images, [2] * 4, mode="replicate")
    return F.conv2d(padded, kernel.expand(channels, 1, 5, 5), groups=channels)


@torch.no_grad()
def _levels(generator: mtlue.UEGenerator, images: Tensor, labels: dict[str, Tensor]) -> Tensor:
    parts = [
        255 * generator(images[part].float() / 255, {name: label[part] for name, label in labels.items()})
        for part in torch.arange(len(images)).split(500)
    ]
    return torch.cat(parts).clamp(-_LEVELS, _LEVELS)
