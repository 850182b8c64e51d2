"""Dilated convolutions in place of strides."""

from __future__ import annotations

from torch import nn

from mtlue.evaluation._models.resnet_stages import ResNetStages

_LAST = 2


def dilate(stages: ResNetStages) -> None:
    """Take the strides from the last two stages of one of torchvision's ResNets, in place; its maps are then an eighth.

    Every convolution after a stride that is gone reads its input at that many times the distance, so that the network gives
    at every fourth pixel what it gave before (Chen et al., 2017). torchvision does it for blocks with a bottleneck alone.
    """
    dilation = 1
    for layer in list(stages.layers)[-_LAST:]:
        reached = dilation
        for part in layer.modules():
            if not isinstance(part, nn.Conv2d):
                continue
            # The parts of a block come in the order in which they run, its shortcut last.
            part.dilation = (reached, reached)
            part.padding = (reached * (part.kernel_size[0] // 2), reached * (part.kernel_size[1] // 2))
            if part.stride != (1, 1):
                part.stride = (1, 1)
                reached = 2 * dilation
        dilation = reached
