"""Backbones by name: torchvision's, for small images and without a classifier."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import nn

from mtlue._models.backbones import patch_size
from mtlue.evaluation import build_model
from narrow_models import TASKS


@pytest.mark.parametrize(
    ("name", "width"),
    [
        ("resnet18", 512),
        ("resnet50", 2048),
        ("vgg16", 512),
        ("vgg16_bn", 512),
        ("densenet121", 1024),
        ("vit_b_16", 768),
        ("unet", 16),
    ],
)
def test_backbones_answer_small_images_of_one_channel(name: str, width: int) -> None:
    model: Any = build_model(name, TASKS, image_shape=(1, 32, 32)).eval()
    images = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = model.features(images)
        answer = model(images)
    assert features.shape == (2, width)
    assert not torch.equal(features[0], features[1])
    assert {task: tuple(logits.shape) for task, logits in answer.items()} == {task: (2, n) for task, n in TASKS.items()}
    for head, task in zip(model.heads, TASKS, strict=True):
        torch.testing.assert_close(answer[task], F.linear(features, head.weight, head.bias))


@pytest.mark.parametrize("name", ["resnet101", "resnet152", "wide_resnet50_2"])
def test_the_largest_backbones_answer_with_the_right_shapes(name: str) -> None:
    """Without memory for their weights."""
    with torch.device("meta"):
        model: Any = build_model(name, TASKS, image_shape=(1, 32, 32))
        features, answer = model.features(torch.rand(2, 1, 32, 32)), model(torch.rand(2, 1, 32, 32))
        theirs = getattr(torchvision.models, name)(weights=None, num_classes=1)
    assert features.shape == (2, 2048)
    assert {task: tuple(logits.shape) for task, logits in answer.items()} == {task: (2, n) for task, n in TASKS.items()}
    # Of their first convolutions one takes a channel, the other three; a classifier of one class has 2049 numbers.
    size, their_size = (sum(parameter.numel() for parameter in each.parameters()) for each in (model.backbone, theirs))
    assert size == their_size - 2049 - 2 * 64 * 49


def test_a_backbone_by_name_is_torchvision_s_without_its_classifier() -> None:
    ours: Any = build_model("resnet18", TASKS, image_shape=(3, 32, 32)).eval()
    theirs = torchvision.models.resnet18(weights=None)
    theirs.fc = nn.Identity()
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.backbone.state_dict().values(), strict=True)))
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ours.features(images), theirs.eval()(images))


def test_initial_weights_are_spread_as_torchvision_s() -> None:
    """VGG is made without its classifier, and so has its weights drawn here."""
    for part in build_model("vgg16_bn", TASKS, image_shape=(3, 32, 32)).modules():
        if isinstance(part, nn.Conv2d):
            assert part.weight.std().item() == pytest.approx((2 / (part.out_channels * 9)) ** 0.5, rel=0.1)
            assert part.bias is not None
            assert not part.bias.any()
        elif isinstance(part, nn.BatchNorm2d):
            assert part.weight.eq(1).all()
            assert part.running_var is not None
            assert part.running_var.eq(1).all()


@pytest.mark.parametrize(("side", "patch"), [(32, 4), (36, 4), (64, 8), (70, 7), (140, 14), (224, 16)])
def test_the_patch_of_a_vision_transformer_fits_the_images(side: int, patch: int) -> None:
    assert patch_size(side, side) == patch


@pytest.mark.parametrize("shape", [(3, 32, 36), (3, 37, 37), (3, 12, 12)])
def test_a_vision_transformer_refuses_images_that_no_patch_divides(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match=rf"image_shape: .* square images .* got {shape[1]}x{shape[2]}"):
        build_model("vit_b_16", TASKS, image_shape=shape)
