"""Strong augmentation: its three parts, and what they may not be used on."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import mtlue
from mtlue._tasks import resolve_tasks
from mtlue.defenses import StrongAugmentation
from mtlue.defenses._strong_augmentation import cutout, gaussian_blur
from multi_fashion import MultiFashion


def images_of(channels: int) -> Tensor:
    return (MultiFashion(4 * channels, train=True).images.float() / 255).reshape(4, channels, 32, 32)


@pytest.mark.parametrize("channels", [1, 3])
def test_strong_augmentation_changes_each_image_and_keeps_form_and_range(channels: int) -> None:
    images = images_of(channels)
    before = images.clone()
    torch.manual_seed(0)
    first, second = (StrongAugmentation().images(images) for _ in range(2))
    torch.manual_seed(0)
    again = StrongAugmentation().images(images)
    assert torch.equal(first, again)
    assert torch.equal(images, before)
    for result in (first, second):
        assert result.shape == images.shape
        assert result.dtype == torch.float32
        assert 0 <= result.min() <= result.max() <= 1
        assert ((result - images).abs().flatten(1).max(dim=1).values > 0.05).all()
    assert not torch.equal(first, second)
    assert StrongAugmentation().images(images[:0]).shape == images[:0].shape


def test_trivial_augment_draws_an_operation_for_each_image() -> None:
    """Without blur and cutout, equal images become different ones."""
    images = images_of(3)[:1].expand(12, -1, -1, -1)
    torch.manual_seed(1)
    changed = StrongAugmentation(blur=0.0, cutout=0.0).images(images)
    assert len(changed.flatten(1).unique(dim=0)) > 6


def test_the_blur_is_a_gaussian_of_each_images_own_width() -> None:
    point = torch.zeros(3, 2, 15, 15)
    point[:, :, 7, 7] = 1.0
    blurred = gaussian_blur(point, torch.tensor([0.0, 1.0, 2.0]))
    torch.testing.assert_close(blurred[0], point[0])
    offsets = torch.arange(-7, 8, dtype=torch.float32)
    for sample, sigma in ((1, 1.0), (2, 2.0)):
        bell = torch.exp(-(offsets**2) / (2 * sigma**2)) * (offsets.abs() <= 6)
        expected = bell[:, None] * bell / bell.sum() ** 2
        torch.testing.assert_close(blurred[sample], expected.expand(2, 15, 15))
    flat = torch.full((2, 1, 4, 3), 0.3)
    torch.testing.assert_close(gaussian_blur(flat, torch.tensor([0.5, 3.0])), flat)


def test_cutout_hides_a_square_under_the_mean_color() -> None:
    torch.manual_seed(0)
    images = torch.rand(200, 3, 8, 10)
    result = cutout(images, share=0.5)
    sides = set()
    for image, changed in zip(images, result, strict=True):
        hidden = (changed != image).any(dim=0)
        rows, columns = hidden.any(dim=1), hidden.any(dim=0)
        assert torch.equal(hidden, rows[:, None] & columns)
        sides.add((int(rows.sum()), int(columns.sum())))
        expected = image.mean(dim=(1, 2))[:, None].expand(3, int(hidden.sum()))
        torch.testing.assert_close(changed[:, hidden], expected)
    # Four pixels where the square lies inside, down to two and less at the border.
    assert max(sides) == (4, 4)
    assert min(sides) <= (2, 2)
    assert torch.equal(cutout(images, share=0.0), images)


def test_strong_augmentation_refuses_label_maps() -> None:
    defense = StrongAugmentation()
    dense = {"age": 5, "parts": mtlue.Segmentation(4), "depth": mtlue.Depth(), "up": mtlue.SurfaceNormals()}
    defense.check_tasks(resolve_tasks({"age": 3}))
    with pytest.raises(ValueError, match="StrongAugmentation moves pixels, and the labels of \\['parts', 'depth', 'up'\\]"):
        defense.check_tasks(resolve_tasks(dense))


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="blur: expected a number >= 0, got -1"):
        StrongAugmentation(blur=-1)
    with pytest.raises(ValueError, match=r"cutout: expected a share in \[0, 1\], got 1.5"):
        StrongAugmentation(cutout=1.5)
    with pytest.raises(TypeError, match=r"cutout: expected a number in \[0, 1\], got 'half'"):
        StrongAugmentation(cutout="half")  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ValueError, match=r"images: expected shape .* 1 or 3 channels"):
        StrongAugmentation().images(torch.rand(2, 4, 8, 8))


def test_the_repr_is_the_call() -> None:
    assert repr(StrongAugmentation(blur=2.0)) == "StrongAugmentation(blur=2, cutout=0.5)"
