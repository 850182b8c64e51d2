"""Networks narrow enough for a processor, and the paper's own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torchvision.models import DenseNet, VisionTransformer
from torchvision.models.resnet import BasicBlock
from torchvision.models.vgg import make_layers

from mtlue._models import ResNetStages, UNet, dilate


class NarrowResNet(nn.Module):
    """Four residual blocks, under the names that torchvision's ResNet gives to its parts.

    Args:
        channels: Channels of the images.
        width: Channels of the first block; the last has four times as many.
    """

    def __init__(self, channels: int, *, width: int = 16) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.Identity()
        self.layer1 = _block(width, width, stride=2)
        self.layer2 = _block(width, 2 * width, stride=2)
        self.layer3 = _block(2 * width, 4 * width, stride=2)
        self.layer4 = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, 16 * width): the last block, averaged over quarters of the image."""
        features = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))
        pooled: Tensor = nn.functional.adaptive_avg_pool2d(features, 2)
        return pooled.flatten(1)


def _block(channels: int, out: int, *, stride: int) -> nn.Module:
    block: nn.Module = BasicBlock(channels, out, stride=stride, downsample=_shortcut(channels, out, stride=stride))
    return block


def _shortcut(channels: int, out: int, *, stride: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride=stride, bias=False), nn.BatchNorm2d(out))


def narrow_vgg(channels: int, size: int) -> nn.Module:
    """Six convolutions with batch normalisation and three poolings, as VGG orders them."""
    layers = make_layers([16, 16, "M", 32, 32, "M", 64, 64, "M"], batch_norm=True)
    layers[0] = nn.Conv2d(channels, 16, 3, padding=1)
    return nn.Sequential(layers, nn.AdaptiveAvgPool2d(2), nn.Flatten())


def narrow_densenet(channels: int, size: int) -> nn.Module:
    """Three dense blocks of three layers with growth 12."""
    net = DenseNet(growth_rate=12, block_config=(3, 3, 3), num_init_features=16)
    net.features.conv0 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
    net.features.pool0 = nn.MaxPool2d(2)
    return nn.Sequential(net.features, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())


def narrow_vit(channels: int, size: int) -> nn.Module:
    """A vision transformer of three layers and width 64 on patches of an eighth of the image."""
    net: nn.Module = VisionTransformer(size, max(size // 8, 1), num_layers=3, num_heads=4, hidden_dim=64, mlp_dim=128)
    net.conv_proj = nn.Conv2d(channels, 64, max(size // 8, 1), stride=max(size // 8, 1))
    net.heads = nn.Identity()
    return net


def dilated(resnet: nn.Module) -> nn.Module:
    """A residual network that gives feature maps, of a quarter of the image's size instead of an eighth."""
    stages = ResNetStages(resnet)
    dilate(stages)
    return stages


#: Narrow backbones by name; any other name is one of `mtlue.evaluation.build_model`.
BACKBONES: dict[str, Callable[[int, int], nn.Module]] = {
    "resnet": lambda channels, size: NarrowResNet(channels),
    "wide": lambda channels, size: NarrowResNet(channels, width=32),
    "vgg": narrow_vgg,
    "densenet": narrow_densenet,
    "vit": narrow_vit,
    "wide-unet": lambda channels, size: UNet(channels, width=24),
    "dilated-resnet": lambda channels, size: dilated(NarrowResNet(channels)),
    "dilated-wide": lambda channels, size: dilated(NarrowResNet(channels, width=24)),
}


def backbone(name: str, image_shape: tuple[int, int, int], *, seed: int) -> nn.Module | str:
    """A backbone of one's own from its name, or the name itself where it is one of the library's."""
    if name not in BACKBONES:
        return name
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        made: nn.Module = BACKBONES[name](image_shape[0], image_shape[1])
    return made.to(memory_format=torch.channels_last)
