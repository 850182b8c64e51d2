"""The U-Net: its sizes, its seed, what it sees and what it learns."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mtlue
from dense_models import SHAPE, TASKS, build
from mtlue._models import UNet
from mtlue.evaluation import build_model

pytestmark = pytest.mark.usefixtures("fixed_random_numbers")


def test_a_u_net_by_name_is_drawn_by_the_seed() -> None:
    first, second, other = (build("unet", seed=seed).state_dict()["backbone.down.0.0.weight"] for seed in (4, 4, 5))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (9, 2), (21, 18), (32, 32)])
@pytest.mark.parametrize("channels", [1, 4])
def test_a_u_net_takes_images_of_any_size(size: tuple[int, int], channels: int) -> None:
    net = UNet(channels, width=2).eval()
    assert net(torch.rand(3, channels, *size)).shape == (3, 2, *size)


def test_a_u_net_by_name_has_sixteen_features_and_a_fifth_of_a_million_parameters() -> None:
    model: Any = build_model("unet", TASKS, image_shape=SHAPE)
    # Weights of 3x3 kernels, and two numbers for each channel that is normalised.
    pairs = [(3, 16), (16, 16), (16, 32), (32, 32), (32, 64), (64, 64), (64, 64), (64, 64)]
    pairs += [(128, 32), (32, 32), (64, 16), (16, 16), (32, 16), (16, 16)]
    expected = sum(9 * read * made + 2 * made for read, made in pairs)
    assert sum(parameter.numel() for parameter in model.backbone.parameters()) == expected == 211_056
    assert model.backbone(torch.rand(2, *SHAPE)).shape == (2, 16, 21, 18)
    assert all(isinstance(model.heads[index].layers, nn.Conv2d) for index in (0, 1, 3))


class First(nn.Module):
    """The enlarged maps alone, without those beside them."""

    def forward(self, maps: Tensor) -> Tensor:
        return maps[:, : maps.shape[1] // 2]


def test_what_is_enlarged_lies_where_it_came_from() -> None:
    """Without convolutions, each pixel gets the largest of its block of eight by eight, also at odd borders."""
    net = UNet(1, width=1)
    net.down, net.up = nn.ModuleList([nn.Identity()] * 4), nn.ModuleList([First()] * 3)
    image = torch.rand(1, 1, 21, 18)
    expected = torch.empty_like(image)
    for row in range(0, 21, 8):
        for column in range(0, 18, 8):
            block = (..., slice(row, row + 8), slice(column, column + 8))
            expected[block] = image[block].max()
    assert torch.equal(net(image), expected)


def seen(net: UNet, pixel: tuple[int, int]) -> Tensor:
    """Which pixels of an image of 33x33 a pixel of the answer depends on."""
    image = torch.rand(1, 2, 33, 33, requires_grad=True)
    (gradient,) = torch.autograd.grad(net(image)[0, :, pixel[0], pixel[1]].sum(), image)
    return gradient[0].abs().sum(dim=0) > 0


def test_a_u_net_sees_near_pixels_past_the_bottleneck_and_far_ones_through_it() -> None:
    net = UNet(2, width=4).eval()
    assert seen(net, (16, 16)).float().mean() > 0.9
    with torch.no_grad():
        # The first maps that the last convolutions read are those that come from below.
        net.up[-1][0].weight[:, :4] = 0  # type: ignore[index]  # a sequence's part
    near = torch.zeros(33, 33, dtype=torch.bool)
    # Four convolutions of radius one.
    near[12:21, 12:21] = True
    mask = seen(net, (16, 16))
    assert not mask[~near].any()
    assert mask[near].float().mean() > 0.9


def test_a_u_net_learns_to_tell_pixels_apart() -> None:
    model = build("unet", tasks={"bright": mtlue.Segmentation(2)})
    pictures = torch.rand(4, *SHAPE)
    labels = (pictures.mean(dim=1) > 0.5).long()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    for _ in range(25):
        optimizer.zero_grad()
        F.cross_entropy(model(pictures)["bright"], labels).backward()
        optimizer.step()
    with torch.no_grad():
        right = (model(pictures)["bright"].argmax(dim=1) == labels).float().mean()
    assert right > 0.9
