"""The parts of a ResNet, between which architectures insert their own, and dilations that replace its strides."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

_STEM = ("conv1", "bn1", "relu", "maxpool")
_LAYERS = ("layer1", "layer2", "layer3", "layer4")

#: Number of stages after the stem.
STAGES = len(_LAYERS)


class ResNetStages(nn.Module):
    """Stem and four stages of a ResNet, without its pooling and classifier.

    Args:
        resnet: Any module with the parts of torchvision's ResNets: ``conv1``, ``bn1``, ``relu``, ``maxpool``, ``layer1`` to
            ``layer4``. They are used, not copied.

    Raises:
        ValueError: the module lacks one of them.
    """

    def __init__(self, resnet: nn.Module) -> None:
        super().__init__()
        lacking = [part for part in (*_STEM, *_LAYERS) if not isinstance(getattr(resnet, part, None), nn.Module)]
        if lacking:
            raise ValueError(
                "backbone: expected a ResNet whose parts have torchvision's names, because this architecture takes it apart; "
                f"{type(resnet).__name__} has no {', '.join(lacking)}"
            )
        self.stem = nn.Sequential(*[getattr(resnet, part) for part in _STEM])
        self.layers = nn.ModuleList([getattr(resnet, part) for part in _LAYERS])

    def forward(self, images: Tensor) -> Tensor:
        """Return feature maps (B, F, h, w) of images (B, C, H, W)."""
        maps = self.stem(images)
        for layer in self.layers:
            maps = layer(maps)
        return cast(Tensor, maps)


def dilate(stages: ResNetStages) -> None:
    """Remove the strides from the last two stages of a torchvision ResNet, in place. Its maps then have an eighth of the sides.

    Every convolution after a removed stride reads its input at a distance larger by that factor, so at every fourth pixel the
    network returns what it returned before (Chen et al., 2017). torchvision itself can do this only for blocks with a
    bottleneck.
    """
    dilation = 1
    for layer in list(stages.layers)[-2:]:
        reached = dilation
        for part in layer.modules():
            if not isinstance(part, nn.Conv2d):
                continue
            # The parts of a block come in the order in which they run, with its shortcut last.
            part.dilation = (reached, reached)
            part.padding = (reached * (part.kernel_size[0] // 2), reached * (part.kernel_size[1] // 2))
            if part.stride != (1, 1):
                part.stride = (1, 1)
                reached = 2 * dilation
        dilation = reached
