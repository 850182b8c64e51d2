"""Cross-stitch networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mtlue._models.columns import Columns
from mtlue._models.resnet_stages import STAGES, ResNetStages
from mtlue._tasks import Task

_OWN_SHARE = 0.9


class CrossStitch(Columns):
    """A network for each task, joined before each of the four stages by learned linear mixtures (Misra et al., 2016).

    A unit has one weight for a pair of tasks, the same for all channels. At first a task gives itself 0.9 and all others
    together 0.1, as the paper recommends. Simplified: the columns are not trained on their single tasks beforehand, and the
    units learn at the rate of all else.

    Attributes:
        units: Mixing weights (4, K, K).
    """

    def __init__(
        self, columns: Sequence[ResNetStages], tasks: Mapping[str, Task], *, image_shape: tuple[int, int, int]
    ) -> None:
        super().__init__(columns, tasks, image_shape=image_shape)
        count = len(tasks)
        units = torch.full((count, count), (1 - _OWN_SHARE) / max(count - 1, 1))
        units.fill_diagonal_(_OWN_SHARE if count > 1 else 1.0)
        self.units = nn.Parameter(units.expand(STAGES, count, count).clone())

    def mixing(self) -> Tensor:
        """The units."""
        return self.units
