"""Random views of an image: how much of it, where, which way round and in what colours."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from mtlue._losses.contrastive_view import _cropped, _recoloured, contrastive_view

COUNT, SIDE = 1024, 32


@pytest.fixture(autouse=True)
def _fixed(fixed_random_numbers: None) -> None: ...


def spans(coordinates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """First and last value along the last axis of each image, and the mean step between neighbours."""
    rows = coordinates.mean(dim=-2)
    return rows[:, 0], rows[:, -1], rows.diff(dim=-1).mean(dim=-1)


def test_a_view_is_a_part_of_the_image_with_a_fifth_of_its_area_at_least() -> None:
    ramp = (torch.arange(SIDE) + 0.5) / SIDE
    across, down = ramp.expand(SIDE, SIDE), ramp.unsqueeze(1).expand(SIDE, SIDE)
    # Both coordinates of each pixel, so that a part can be read off its pixels.
    parts = _cropped(torch.stack([across, down]).expand(COUNT, 2, SIDE, SIDE))
    first, last, step = spans(parts[:, 0])
    top, bottom, descent = spans(parts[:, 1].mT)
    wide, high = step.abs() * SIDE, descent * SIDE
    area, stretch = wide * high, wide / high
    assert 0.19 < float(area.min()) < 0.25
    assert float(area.max()) > 0.9
    assert 0.5 < float(area.mean()) < 0.65
    assert 0.74 < float(stretch.min()) < 0.8
    assert 1.25 < float(stretch.max()) < 1.34
    # Half of them mirrored, none upside down, and all inside the image: its reflection at the border would turn the ramp.
    assert 0.45 < float((step < 0).float().mean()) < 0.55
    assert bool((descent > 0).all())
    for one, other in ((torch.minimum(first, last), torch.maximum(first, last)), (top, bottom)):
        assert float(one.min()) > 0
        assert float(other.max()) < 1
        # Anywhere in it.
        middle = (one + other) / 2
        assert abs(float(middle.mean()) - 0.5) < 0.02
        assert float(middle.min()) < 0.32
        assert float(middle.max()) > 0.68
    assert bool((parts[:, 0].diff(dim=-1) * step.sign().view(-1, 1, 1) > -1e-6).all())


def test_four_of_five_change_in_brightness_and_contrast_by_up_to_40_percent() -> None:
    image = torch.tensor([0.3, 0.5]).view(1, 1, 1, 2)
    views = _recoloured(image.expand(COUNT, 1, 1, 2)).flatten(1)
    changed = (views != image.flatten()).any(dim=1)
    assert 0.75 < float(changed.float().mean()) < 0.85
    brightness = views[changed].mean(dim=1) / 0.4
    contrast = views[changed].diff(dim=1).flatten() / 0.2 / brightness
    for factor in (brightness, contrast):
        assert 0.6 <= float(factor.min()) < 0.62
        assert 1.38 < float(factor.max()) <= 1.4001
        assert abs(float(factor.mean()) - 1) < 0.03


def test_of_three_channels_the_saturation_changes_and_a_fifth_becomes_grey() -> None:
    image = torch.tensor([0.6, 0.3, 0.2]).view(1, 3, 1, 1)
    weights = torch.tensor([0.299, 0.587, 0.114])
    views = _recoloured(image.expand(COUNT, 3, 1, 1)).flatten(1)
    changed = (views - image.flatten()).abs().amax(dim=1) > 1e-6
    assert 0.75 < float(changed.float().mean()) < 0.85
    views = views[changed]
    grey = views.std(dim=1) < 1e-6
    assert 0.15 < float(grey.float().mean()) < 0.25
    # The colours differ from grey by a share of what they did, and grey is what the eye sees as equally bright.
    plain = views[~grey]
    luma = (plain * weights).sum(dim=1, keepdim=True)
    kept = (plain - luma) / (image.flatten() - (image.flatten() * weights).sum())
    torch.testing.assert_close(kept, kept[:, :1].expand_as(kept), rtol=1e-3, atol=1e-3)
    assert float(kept.min()) < 0.6
    assert float(kept.max()) > 1.4


def test_what_is_grey_in_three_channels_stays_grey_and_changes_in_brightness_alone() -> None:
    views = _recoloured(torch.full((COUNT, 3, 1, 1), 0.3)).flatten(1)
    torch.testing.assert_close(views, views[:, :1].expand_as(views))
    assert 0.6 <= float(views.min()) / 0.3 < 0.62
    assert 1.38 < float(views.max()) / 0.3 <= 1.4001


def test_a_view_stays_within_the_range_of_images() -> None:
    view = contrastive_view(torch.ones(64, 3, 4, 4))
    assert view.shape == (64, 3, 4, 4)
    assert float(view.max()) == 1.0
    assert 0.3 < float(view.min()) < 1.0
