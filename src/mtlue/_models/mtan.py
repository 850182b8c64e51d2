"""Multi-task attention networks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlue._losses import borrowed
from mtlue._models.features import device_of
from mtlue._models.model import TaskFeaturesModel
from mtlue._models.resnet_stages import ResNetStages
from mtlue._tasks import Task


class MTAN(TaskFeaturesModel):
    """A shared ResNet. In each stage, each task selects its features by a soft mask (Liu et al., 2019).

    A mask is computed from the stage's maps before its last block, together with what the task selected in the stage before.
    This takes two 1x1 convolutions with batch normalisation, with ReLU after the first and a sigmoid after the second, as
    narrow in between as the stage's blocks. The mask multiplies the output of the stage. A 3x3 convolution with batch
    normalisation and ReLU, shared by all tasks, brings the selected maps to the channels of the next stage, and max pooling to
    its size.

    Two things are simplified. That convolution is a single one, while the authors' network for ResNets has a residual block.
    And a stage that is not a sequence of at least two blocks computes the masks from its output.

    Args:
        backbone: The shared network.
        tasks: The tasks.
        image_shape: Channels, height and width of the images.

    Attributes:
        attention: For each stage, a module for each task that computes its masks, with entries in (0, 1).
        transfer: The shared convolutions between the stages.
    """

    def __init__(self, backbone: ResNetStages, tasks: Mapping[str, Task], *, image_shape: tuple[int, int, int]) -> None:
        super().__init__(tasks, backbone, image_shape=image_shape)
        self.stem = backbone.stem
        self.before, self.last = nn.ModuleList(), nn.ModuleList()
        for layer in backbone.layers:
            several = isinstance(layer, nn.Sequential) and len(layer) > 1
            self.before.append(cast(nn.Sequential, layer)[:-1] if several else layer)
            self.last.append(cast(nn.Sequential, layer)[-1] if several else nn.Identity())
        self.attention, self.transfer = nn.ModuleList(), nn.ModuleList()
        picked = 0
        for (read, given), block in zip(self._channels(image_shape), self.last, strict=True):
            if picked:
                convolution = nn.Conv2d(picked, read, 3, padding=1, bias=False)
                self.transfer.append(nn.Sequential(convolution, nn.BatchNorm2d(read), nn.ReLU()))
            seen, narrow = read * (2 if picked else 1), given // int(getattr(block, "expansion", 1))
            self.attention.append(nn.ModuleList([_mask(seen, narrow, given) for _ in tasks]))
            picked = given

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return masked feature maps (B, F, h, w) of each task."""
        shared = self._shared(images)
        picked: list[Tensor] = []
        for stage, (read, given) in enumerate(shared):
            masks = list(cast(Iterable[nn.Module], self.attention[stage]))
            if stage:
                transfer = self.transfer[stage - 1]
                picked = [F.adaptive_max_pool2d(transfer(own), read.shape[-2:]) for own in picked]
                inputs = [torch.cat([read, own], dim=1) for own in picked]
            else:
                inputs = [read] * len(masks)
            picked = [mask(seen) * given for mask, seen in zip(masks, inputs, strict=True)]
        return picked

    def _shared(self, images: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return, for each stage, the maps before its last block and after it."""
        maps, pairs = self.stem(images), []
        for before, last in zip(self.before, self.last, strict=True):
            read = before(maps)
            maps = last(read)
            pairs.append((read, maps))
        return pairs

    def _channels(self, image_shape: tuple[int, int, int]) -> list[tuple[int, int]]:
        device = device_of(self)
        with borrowed(self, device=device, trainable=False), torch.no_grad():
            pairs = self._shared(torch.zeros(2, *image_shape, device=device))
        if any(read.shape[-2:] != given.shape[-2:] for read, given in pairs):
            raise ValueError("backbone: MTAN needs stages whose last block keeps the size of its maps")
        return [(read.shape[1], given.shape[1]) for read, given in pairs]


def _mask(seen: int, narrow: int, given: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(seen, narrow, 1, bias=False),
        nn.BatchNorm2d(narrow),
        nn.ReLU(),
        nn.Conv2d(narrow, given, 1, bias=False),
        nn.BatchNorm2d(given),
        nn.Sigmoid(),
    )
