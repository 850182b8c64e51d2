"""Whether the networks of `protect` see mirror images: only where these have the same labels."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

import mtlue
from mtlue._check import mirroring
from mtlue._data import Samples, inspect_dataset, random_crop, random_crop_and_flip
from mtlue._protect.mirroring import augmentation_for
from mtlue._runtime import Compute

SIDE, BRIGHT = mtlue.Classification(2), mtlue.Classification(2)


def bars(count: int, *labels: str) -> list[tuple[torch.Tensor, dict[str, int]]]:
    """A bar at the left or at the right of a dark or a bright ground, with noise; labels by name."""
    random = torch.Generator().manual_seed(0)
    samples = []
    for index in range(count):
        side, bright = index % 2, index // 2 % 2
        image = torch.randint(40, (1, 16, 16), generator=random, dtype=torch.uint8) + 60 * bright
        image[..., slice(1, 5) if side == 0 else slice(11, 15)] += 90
        chance = int(torch.randint(2, (), generator=random))
        samples.append((image, {name: {"side": side, "bright": bright, "chance": chance}[name] for name in labels}))
    return samples


def chosen(dataset: Any, tasks: dict[str, mtlue.Task]) -> Any:
    return augmentation_for(Samples(dataset, tasks), inspect_dataset(dataset, tasks), Compute(torch.device("cpu")))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["bright"], random_crop_and_flip),
        (["side"], random_crop),
        (["bright", "side"], random_crop),
        # What nobody can learn from these images tells nothing of mirror images.
        (["chance"], random_crop),
        (["bright", "chance"], random_crop_and_flip),
    ],
    ids=lambda value: value.__name__ if callable(value) else "-".join(value),
)
def test_images_are_mirrored_where_it_keeps_the_labels(labels: list[str], expected: Any) -> None:
    assert chosen(bars(200, *labels), dict.fromkeys(labels, mtlue.Classification(2))) is expected


@pytest.mark.parametrize(
    ("straight", "mirrored", "changed"),
    [
        (0.3, 0.2, False),  # a third is lost, but no more than luck may cost
        (0.3, 0.1, True),
        (0.8, 0.65, False),  # more than luck costs, but less than a network loses that never saw mirror images
        (0.8, -0.8, True),
        (0.1, -0.1, None),  # nothing was learned
    ],
)
def test_luck_changes_no_label(monkeypatch: pytest.MonkeyPatch, straight: float, mirrored: float, changed: bool | None) -> None:
    skills = iter([straight, mirrored])
    monkeypatch.setattr(mirroring, "skill_of", lambda task, pairs: next(skills))
    monkeypatch.setattr(mirroring, "margin_of", lambda task, pairs, random: (0.15, 0.1))
    found = chosen(bars(200, "bright"), {"bright": BRIGHT})
    assert found is (random_crop_and_flip if changed is False else random_crop)


def test_too_few_images_are_not_mirrored() -> None:
    assert chosen(bars(63, "bright"), {"bright": BRIGHT}) is random_crop


def test_it_is_said_which_labels_would_change(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mtlue.protect"):
        chosen(bars(200, "bright", "side"), {"bright": BRIGHT, "side": SIDE})
    assert caplog.messages[-1] == "protect: images are not mirrored; it would change the labels of 'side'"


@pytest.mark.filterwarnings("ignore::UserWarning")  # one epoch makes nothing strong
def test_protect_trains_with_what_was_chosen() -> None:
    seen: list[torch.Tensor] = []

    class Looking(mtlue.BaseUELoss):
        def __call__(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: dict[str, torch.Tensor]) -> torch.Tensor:
            seen.append(images.detach())
            return surrogate.loss(images, targets)

    def told(labels: list[str]) -> torch.Tensor:
        seen.clear()
        tasks = dict.fromkeys(labels, mtlue.Classification(2))
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(256, 2))
        settings = {"loss": Looking(), "epochs": 1, "batch_size": 20, "check": False, "progress": False}
        mtlue.protect(bars(100, *labels), tasks=tasks, surrogate=net, **settings)
        images = torch.cat(seen)
        return images[..., :8].mean(dim=(1, 2, 3)) - images[..., 8:].mean(dim=(1, 2, 3))

    # Half of the images have their bar at the left, mirrored or not; where they are not mirrored, their order says which.
    assert ((told(["side"]) > 0) == (told(["bright"]) > 0)).float().mean() < 1
