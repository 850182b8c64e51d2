"""Heads that answer with maps: DeepLab's on coarse maps, a convolution of single pixels on fine ones."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.segmentation.deeplabv3 import ASPP, DeepLabHead

import mtlue
from dense_models import SHAPE, build
from mtlue._models.heads import MapHead
from mtlue._runtime.device import autocast

pytestmark = pytest.mark.usefixtures("fixed_random_numbers")


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, *SHAPE)


def test_coarse_maps_pass_deeplab_s_head_and_are_enlarged_bilinearly() -> None:
    head = MapHead(256, 5, coarse=True).eval()
    theirs = DeepLabHead(256, 5)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), head.state_dict().values(), strict=True)))
    maps = torch.rand(2, 256, 4, 3)
    expected = F.interpolate(theirs.eval()(maps), size=(9, 7), mode="bilinear", align_corners=False)
    torch.testing.assert_close(head(maps, (9, 7)), expected)
    assert [part.dilation[0] for part in head.modules() if isinstance(part, nn.Conv2d)] == [1, 12, 24, 36, 1, 1, 1, 1]


def test_a_head_is_as_narrow_as_its_features_and_otherwise_deeplab_s() -> None:
    narrow, wide = MapHead(20, 5, coarse=True).layers, DeepLabHead(20, 5)
    assert isinstance(narrow, nn.Sequential)
    assert [type(part) for part in narrow.modules()][1:] == [type(part) for part in wide.modules()][1:]
    ours, theirs = ([part for part in net.modules() if isinstance(part, nn.Conv2d)] for net in (narrow, wide))
    assert [(part.in_channels, part.out_channels) for part in ours] == [(20, 20)] * 5 + [(100, 20), (20, 20), (20, 5)]
    for our, their in zip(ours, theirs, strict=True):
        assert (our.kernel_size, our.padding, our.dilation) == (their.kernel_size, their.padding, their.dilation)
        assert (our.bias is None) == (their.bias is None)


@pytest.mark.parametrize(("features", "width"), [(255, 255), (256, 256), (300, 256)])
def test_no_head_is_wider_than_256(features: int, width: int) -> None:
    head = build(nn.Conv2d(3, features, 3), tasks={"depth": mtlue.Depth()}).heads[0]
    assert next(part for part in head.modules() if isinstance(part, ASPP)).project[0].out_channels == width


@pytest.mark.parametrize(("padding", "coarse"), [((1, 1), False), ((2, 1), False), ((1, 0), True), ((0, 1), True)])
def test_maps_at_the_full_resolution_pass_a_convolution_of_single_pixels(
    padding: tuple[int, int], coarse: bool, images: Tensor
) -> None:
    model = build(nn.Conv2d(3, 6, 3, padding=padding), tasks={"depth": mtlue.Depth()}).eval()
    layers = model.heads[0].layers
    assert isinstance(layers, nn.Sequential if coarse else nn.Conv2d)
    assert model(images)["depth"].shape == (4, 1, 21, 18)
    if padding == (1, 1):
        by_pixel = torch.einsum("cf,bfhw->bchw", layers.weight[:, :, 0, 0], model.backbone(images))
        torch.testing.assert_close(model(images)["depth"], by_pixel + layers.bias)


@pytest.mark.parametrize(("features", "size", "count"), [(48, (8, 8), 16), (48, (1, 1), 16), (256, (4, 4), 8)])
def test_gradients_of_a_head_in_bfloat16_are_near_those_in_float32(features: int, size: tuple[int, int], count: int) -> None:
    """The average over the image is a map of one pixel, on which some convolutions have no right gradients in bfloat16."""
    head = MapHead(features, 5, coarse=True)
    for part in head.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    # Images that differ in their averages, as those of a network do.
    maps = (torch.randn(count, features, 1, 1) + torch.randn(count, features, *size)).relu()
    towards = torch.randn(count, 5, 16, 16)
    found = {}
    for precision in (torch.float32, torch.bfloat16):
        with autocast(torch.device("cpu"), precision):
            answer = head(maps, (16, 16))
        found[precision] = torch.autograd.grad((answer.float() * towards).sum(), list(head.parameters()))
    for (name, _), exact, rough in zip(head.named_parameters(), *found.values(), strict=True):
        assert rough.isfinite().all(), name
        assert F.cosine_similarity(exact.flatten(), rough.flatten(), dim=0) > 0.9, name
        assert rough.norm() / exact.norm() == pytest.approx(1, abs=0.15), name
