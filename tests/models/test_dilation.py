"""Dilated networks: maps of an eighth, with what the plain network gives at every fourth pixel."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torchvision
from torch import nn
from torchvision.models.segmentation.deeplabv3 import DeepLabHead

import mtlue
from dense_models import ANSWERS, ARCHITECTURES, SHAPE, TASKS, NarrowResNet, build, shapes
from mtlue._models import ResNetStages, dilate
from mtlue.evaluation import build_model

pytestmark = pytest.mark.usefixtures("fixed_random_numbers")


def settled(module: nn.Module) -> nn.Module:
    """Batch normalisation in eval mode, with statistics that do something."""
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(torch.as_tensor(part.running_mean), -0.2, 0.2)
            nn.init.uniform_(torch.as_tensor(part.running_var), 0.5, 2.0)
            nn.init.uniform_(part.bias, -0.2, 0.2)
    return module.eval()


@pytest.mark.parametrize("make", [NarrowResNet, torchvision.models.resnet18], ids=["narrow", "resnet18"])
@pytest.mark.parametrize("size", [(64, 40), (37, 51)])
def test_a_dilated_network_gives_at_every_fourth_pixel_what_it_gave_before(make: Any, size: tuple[int, int]) -> None:
    before = ResNetStages(settled(make()))
    dilated = copy.deepcopy(before)
    dilate(dilated)
    images = torch.rand(1, 3, *size)
    with torch.no_grad():
        maps, fewer = dilated(images), before(images)
    assert maps.shape[-2:] == tuple(-(-side // 8) for side in size)
    assert fewer.shape[-2:] == tuple(-(-side // 32) for side in size)
    torch.testing.assert_close(maps[..., ::4, ::4], fewer, atol=1e-4, rtol=1e-4)


def test_resnet50_is_dilated_as_torchvision_does_it() -> None:
    ours: Any = settled(build_model("resnet50", {"depth": mtlue.Depth()}, image_shape=(3, 48, 40)))
    theirs = torchvision.models.resnet50(weights=None, replace_stride_with_dilation=[False, True, True])
    theirs.fc = nn.Identity()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.backbone.state_dict().values(), strict=True)))
    images = torch.rand(1, 3, 48, 40)
    with torch.no_grad():
        maps = ours.backbone(images)
        torch.testing.assert_close(maps.mean(dim=(2, 3)), theirs.eval()(images))
    assert maps.shape == (1, 2048, 6, 5)
    for our, their in zip(convolutions(ours.backbone), convolutions(theirs), strict=True):
        assert (our.stride, our.kernel_size) == (their.stride, their.kernel_size)
        if our.kernel_size != (1, 1):
            assert (our.padding, our.dilation) == (their.padding, their.dilation)


def convolutions(module: nn.Module) -> list[nn.Conv2d]:
    return [part for part in module.modules() if isinstance(part, nn.Conv2d)]


@pytest.mark.parametrize("name", ["resnet101", "resnet152", "wide_resnet50_2"])
def test_the_largest_resnets_give_maps_of_an_eighth(name: str) -> None:
    """Without memory for their weights."""
    with torch.device("meta"):
        model: Any = build_model(name, TASKS, image_shape=(1, 49, 64))
        maps, answer = model.backbone(torch.rand(2, 1, 49, 64)), model(torch.rand(2, 1, 49, 64))
    assert maps.shape == (2, 2048, 7, 8)
    assert shapes(answer) == {"what is it": (2, 5, 49, 64), "depth": (2, 1, 49, 64), "room": (2, 3), "normals": (2, 3, 49, 64)}
    assert all(isinstance(model.heads[index].layers, DeepLabHead) for index in (0, 1, 3))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_resnet_by_name_is_dilated_in_every_architecture(architecture: str) -> None:
    with torch.device("meta"):
        model: Any = build_model("resnet18", TASKS, image_shape=SHAPE, architecture=architecture)
        maps = [model.backbone(torch.rand(2, *SHAPE))] if architecture == "hard-sharing" else model.maps(torch.rand(2, *SHAPE))
        answer = model(torch.rand(2, *SHAPE))
    assert len(maps) == (1 if architecture == "hard-sharing" else len(TASKS))
    assert all(each.shape == (2, 512, 3, 3) for each in maps)
    assert shapes(answer) == {name: (2, *shape[1:]) for name, shape in ANSWERS.items()}


def test_a_resnet_keeps_its_strides_where_no_labels_are_maps_and_where_it_is_one_s_own() -> None:
    with torch.device("meta"):
        classifier: Any = build_model("resnet18", {"room": 3}, image_shape=(3, 64, 64))
    assert classifier.backbone.to_empty(device="cpu")(torch.rand(1, 3, 64, 64)).shape == (1, 512, 2, 2)
    own = build(NarrowResNet())
    assert own.backbone(torch.rand(2, 3, 64, 64)).shape == (2, 10, 2, 2)
    assert shapes(own(torch.rand(4, *SHAPE))) == ANSWERS


@pytest.mark.parametrize("name", ["vgg16_bn", "densenet121"])
def test_other_backbones_by_name_give_maps_too(name: str) -> None:
    model: Any = build_model(name, {"depth": mtlue.Depth(), "room": 3}, image_shape=(1, 35, 64)).eval()
    with torch.no_grad():
        assert shapes(model(torch.rand(2, 1, 35, 64))) == {"depth": (2, 1, 35, 64), "room": (2, 3)}
