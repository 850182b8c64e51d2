"""Architectures with a whole network for each task, which exchange feature maps between their stages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from mtlue._models.model import TaskFeaturesModel
from mtlue._models.resnet_stages import STAGES, ResNetStages
from mtlue._tasks import Task


class Columns(TaskFeaturesModel):
    """One ResNet a task; the input of each stage is a mixture of what all columns gave in the stage before.

    Args:
        columns: A network for each task, all of the same shape.
        tasks: The tasks.
        image_shape: Channels, height and width of the images.
    """

    def __init__(
        self, columns: Sequence[ResNetStages], tasks: Mapping[str, Task], *, image_shape: tuple[int, int, int]
    ) -> None:
        super().__init__(tasks, columns[0], image_shape=image_shape)
        self.columns = nn.ModuleList(columns)

    @abstractmethod
    def mixing(self) -> Tensor:
        """Weights (4, K, K): stage, task whose column receives, task whose column gives."""

    def maps(self, images: Tensor) -> list[Tensor]:
        """Feature maps (B, F, h, w) of each column."""
        columns = list(cast(Iterable[ResNetStages], self.columns))
        maps: list[Tensor] = [column.stem(images) for column in columns]
        weights = self.mixing()
        for stage in range(STAGES):
            mixed = torch.einsum("ij,jbchw->ibchw", weights[stage], torch.stack(maps))
            maps = [column.layers[stage](given) for column, given in zip(columns, mixed, strict=True)]
        return maps
