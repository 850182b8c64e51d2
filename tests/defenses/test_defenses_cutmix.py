"""CutMix."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mtlue
from literal import random_targets
from mtlue.defenses import CutMix
from mtlue.defenses._cutmix import random_box


class Watching(nn.Module):
    """Answers one binary logit, the mean of the image, and keeps what it saw."""

    def forward(self, images: Tensor) -> Tensor:
        self.seen = images
        return images.flatten(1).mean(dim=1)


def test_the_share_of_a_label_is_the_share_of_the_area() -> None:
    """A black and a white image: what is white of the first is what it has of the second, and of its label."""
    images = torch.stack([torch.zeros(1, 8, 10), torch.ones(1, 8, 10)])
    targets = {"bright": torch.tensor([0, 1])}
    net, areas = Watching(), []
    torch.manual_seed(0)
    for _ in range(80):
        loss = CutMix().losses(mtlue.Surrogate(net, {"bright": 2}), images, targets)["bright"]
        white = net.seen.flatten(1).mean(dim=1)
        dark, bright = (F.softplus(white), F.softplus(-white))
        if float(white.sum()) == 1.0 and float(white[0]) > 0:
            areas.append(pasted := white[0])
            own, other = (dark[0] + bright[1]) / 2, (bright[0] + dark[1]) / 2
            torch.testing.assert_close(loss, (1 - pasted) * own + pasted * other)
            rows, columns = (net.seen[0, 0] == 1).nonzero().T
            # One box without a hole.
            assert len(rows) == (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
        else:
            # Each image is its own partner, or the box is empty.
            torch.testing.assert_close(loss, (dark[0] + bright[1]) / 2)
    assert 20 < len(areas) < 60
    assert min(areas) < 0.2
    assert max(areas) > 0.5


def test_the_box_has_its_area_where_no_edge_cuts_it() -> None:
    torch.manual_seed(0)
    areas = [int(random_box(20, 10, 0.25).sum()) for _ in range(300)]
    assert max(areas) == 50
    assert min(areas) >= 50 / 4
    assert not random_box(20, 10, 0.0).any()


def test_label_maps_are_cut_with_the_images() -> None:
    """Each pixel's label is told by the pixel itself: before and after the cut."""
    tasks = {"parts": mtlue.Segmentation(4), "depth": mtlue.Depth(), "shoe": mtlue.Classification(2)}
    parts, depth = torch.randint(4, (6, 5, 7)), torch.rand(6, 1, 5, 7) + 1
    images = torch.cat([parts.unsqueeze(1) / 4, depth / 4, torch.rand(6, 1, 5, 7)], dim=1)

    class Told(nn.Module):
        def forward(self, images: Tensor) -> dict[str, Tensor]:
            logits = 100.0 * F.one_hot((4 * images[:, 0]).round().long(), 4).permute(0, 3, 1, 2)
            return {"parts": logits, "depth": 4 * images[:, 1:2], "shoe": torch.zeros(len(images), 2)}

    torch.manual_seed(1)
    victim = mtlue.Surrogate(Told(), tasks)
    for _ in range(10):
        losses = CutMix().losses(victim, images, {"parts": parts, "depth": depth, "shoe": torch.arange(6) % 2})
        assert list(losses) == list(tasks)
        assert losses["parts"] == 0
        assert losses["depth"] < 1e-5
        torch.testing.assert_close(losses["shoe"], torch.tensor(2.0).log())


def test_cutmix_works_with_every_kind_and_with_missing_labels() -> None:
    tasks = {"parts": mtlue.Segmentation(4), "depth": mtlue.Depth(), "up": mtlue.SurfaceNormals()}
    images, targets = torch.rand(5, 3, 6, 7), random_targets(tasks, 5, (6, 7), seed=4)
    net = nn.Conv2d(3, 8, 1)

    class Dense(nn.Module):
        def forward(self, images: Tensor) -> tuple[Tensor, ...]:
            return net(images).split([4, 1, 3], dim=1)

    losses = CutMix(alpha=0.5).losses(mtlue.Surrogate(Dense(), tasks), images, targets)
    assert all(loss.isfinite() and loss.requires_grad for loss in losses.values())


def test_wrong_arguments_and_repr() -> None:
    with pytest.raises(ValueError, match="alpha: expected a number > 0, got 0"):
        CutMix(alpha=0)
    assert repr(CutMix(0.2)) == "CutMix(alpha=0.2)"
