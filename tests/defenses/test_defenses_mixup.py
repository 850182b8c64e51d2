"""Mixup."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mtlue
from literal import random_targets
from mtlue.defenses import Mixup


def test_mixup_by_hand() -> None:
    """Two samples, 0 and 1 in every pixel: the mixture tells the share, the losses of an identity model follow from it."""
    images = torch.tensor([0.0, 1.0]).reshape(2, 1, 1, 1)
    targets = {"bright": torch.tensor([0, 1])}
    seen: list[Tensor] = []

    class Identity(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images.flatten())
            return images.flatten()

    victim, shares = mtlue.Surrogate(Identity(), {"bright": 2}), []
    torch.manual_seed(0)
    for _ in range(60):
        loss = Mixup().losses(victim, images, targets)["bright"]
        first, second = seen.pop().tolist()
        assert first + second == pytest.approx(1.0)
        if first == 0.0:
            # The permutation left both in their places.
            expected = (F.softplus(torch.tensor(0.0)) + F.softplus(torch.tensor(-1.0))) / 2
        else:
            # The first image is (1 - s) of the second, the second s of itself.
            shares.append(share := second)
            own = (F.softplus(torch.tensor(first)) + F.softplus(torch.tensor(-second))) / 2
            swapped = (F.softplus(torch.tensor(-first)) + F.softplus(torch.tensor(second))) / 2
            expected = share * own + (1 - share) * swapped
        torch.testing.assert_close(loss, expected)
    assert 15 < len(shares) < 45
    # Uniform on [0, 1] for alpha = 1.
    assert min(shares) < 0.2
    assert max(shares) > 0.8
    assert sum(shares) / len(shares) == pytest.approx(0.5, abs=0.2)


def test_mixup_works_on_label_maps_and_missing_labels() -> None:
    tasks = {"parts": mtlue.Segmentation(4), "depth": mtlue.Depth(), "up": mtlue.SurfaceNormals()}
    images, targets = torch.rand(5, 3, 6, 7), random_targets(tasks, 5, (6, 7), seed=4)
    net = nn.Conv2d(3, 8, 1)

    class Dense(nn.Module):
        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            return net(images).split([4, 1, 3], dim=1)

    losses = Mixup(alpha=0.5).losses(mtlue.Surrogate(Dense(), tasks), images, targets)
    assert list(losses) == list(tasks)
    assert all(loss.isfinite() and loss.requires_grad for loss in losses.values())


def test_wrong_arguments_and_repr() -> None:
    with pytest.raises(ValueError, match="alpha: expected a number > 0, got 0"):
        Mixup(alpha=0)
    assert repr(Mixup(0.2)) == "Mixup(alpha=0.2)"
