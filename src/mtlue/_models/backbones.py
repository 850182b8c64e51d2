"""Backbones by name, for images of any number of channels: torchvision's without their classifiers, and small ones."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import torch
import torchvision
from torch import nn

from mtlue._models.pretrained import Pretrained
from mtlue._models.resnet_stages import ResNetStages
from mtlue._models.unet import UNet

#: Backbones that return features (B, F) instead of feature maps.
WITHOUT_MAPS = frozenset({"vit_b_16"})

_LARGEST_PATCH, _FEWEST_PATCHES = 16, 8


def make_backbone(name: str, image_shape: tuple[int, int, int], pretrained: Pretrained | None = None) -> nn.Module:
    """A backbone that gives feature maps (B, F, h, w), or features (B, F), with new random weights or trained ones.

    Raises:
        ValueError: the name is unknown, or the backbone does not take images of this shape.
    """
    if name not in _BACKBONES:
        raise ValueError(f"backbone: expected a module or one of {sorted(_BACKBONES)}, got {name!r}")
    return _BACKBONES[name](name, image_shape, pretrained)


def patch_size(height: int, width: int) -> int:
    """Return the largest patch of at most 16 pixels that divides a square image into at least 8x8 patches.

    Raises:
        ValueError: the image is not square, or no patch larger than one pixel divides it in this way.
    """
    fitting = [patch for patch in range(2, _LARGEST_PATCH + 1) if height % patch == 0 and height // patch >= _FEWEST_PATCHES]
    if height != width or not fitting:
        raise ValueError(
            "image_shape: a vision transformer takes square images that a patch of 2 to 16 pixels divides into at least 8x8 "
            f"patches, such as 32x32, 64x64 or 224x224, got {height}x{width}: resize the images"
        )
    return max(fitting)


def _resnet(name: str, image_shape: tuple[int, int, int], pretrained: Pretrained | None) -> nn.Module:
    resnet = torchvision.models.get_model(name, weights=None)
    _set_channels(resnet, "conv1", image_shape[0])
    if pretrained is not None:
        resnet.fc = nn.Identity()
        pretrained.load(resnet)
        resnet.conv1 = pretrained.normalising(resnet.conv1)
    return ResNetStages(resnet)


def _vgg(name: str, image_shape: tuple[int, int, int], pretrained: Pretrained | None) -> nn.Module:
    # The classifier that is dropped has nine tenths of the parameters: they are never made.
    with torch.device("meta"):
        features = torchvision.models.get_model(name, weights=None).features
    if not isinstance(features, nn.Sequential):
        raise TypeError(f"torchvision's VGG is not built as expected: features is a {type(features).__name__}")
    _set_channels(features, "0", image_shape[0])
    features.to_empty(device="cpu")
    for part in features:
        if isinstance(part, nn.Conv2d):
            _initialise(part)
        elif isinstance(part, nn.BatchNorm2d):
            part.reset_parameters()
    if pretrained is not None:
        pretrained.load(features, "features.")
        features[0] = pretrained.normalising(features[0])
    return features


def _densenet(name: str, image_shape: tuple[int, int, int], pretrained: Pretrained | None) -> nn.Module:
    features = torchvision.models.get_model(name, weights=None).features
    _set_channels(features, "conv0", image_shape[0])
    if pretrained is not None:
        # Files of old call a layer's first and second parts norm.1 and conv.2.
        renamed = {re.sub(r"\.(norm|conv)\.([12])\.", r".\1\2.", key): value for key, value in pretrained.state.items()}
        replace(pretrained, state=renamed).load(features, "features.")
        features.conv0 = pretrained.normalising(features.conv0)
    return nn.Sequential(features, nn.ReLU())


def _unet(name: str, image_shape: tuple[int, int, int], pretrained: Pretrained | None) -> nn.Module:
    # What it is made for is a processor, where this layout takes four fifths of the time.
    made: nn.Module = UNet(image_shape[0]).to(memory_format=torch.channels_last)
    return made


def _vit(name: str, image_shape: tuple[int, int, int], pretrained: Pretrained | None) -> nn.Module:
    channels, height, width = image_shape
    vit: nn.Module = torchvision.models.VisionTransformer(
        image_size=height, patch_size=patch_size(height, width), num_layers=12, num_heads=12, hidden_dim=768, mlp_dim=3072
    )
    if channels != 3:
        _set_channels(vit, "conv_proj", channels)
        weight = vit.get_parameter("conv_proj.weight")
        nn.init.trunc_normal_(weight, std=weight[0].numel() ** -0.5)
    vit.heads = nn.Identity()
    if pretrained is not None:
        pretrained.load(vit)
        vit.conv_proj = pretrained.normalising(vit.get_submodule("conv_proj"))
    return vit


def _set_channels(module: nn.Module, name: str, channels: int) -> None:
    """Replace the first convolution if images have another number of channels."""
    old = getattr(module, name)
    if old.in_channels == channels:
        return
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,
        stride=old.stride,
        padding=old.padding,
        bias=old.bias is not None,
        device=old.weight.device,
    )
    _initialise(new)
    setattr(module, name, new)


def _initialise(convolution: nn.Conv2d) -> None:
    """Draw weights as torchvision's convolutional networks do."""
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
    if convolution.bias is not None:
        nn.init.zeros_(convolution.bias)


_BACKBONES: dict[str, Callable[[str, tuple[int, int, int], Pretrained | None], nn.Module]] = {
    **dict.fromkeys(("resnet18", "resnet50", "resnet101", "resnet152", "wide_resnet50_2"), _resnet),
    **dict.fromkeys(("vgg16", "vgg16_bn"), _vgg),
    "densenet121": _densenet,
    "vit_b_16": _vit,
    "unet": _unet,
}
