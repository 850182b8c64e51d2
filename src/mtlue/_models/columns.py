"""Architectures with a whole network for each task, which exchange feature maps between their stages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlue._models.model import TaskFeaturesModel
from mtlue._models.resnet_stages import STAGES, ResNetStages
from mtlue._tasks import Task

# What a task gives itself in a cross-stitch unit at first.
_OWN_SHARE = 0.9
# Temperature of the Gumbel softmax of LTB, in the first epoch and in the last.
_HOT, _COLD = 5.0, 0.5


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
        self.units = nn.Parameter(torch.empty(STAGES, len(tasks), len(tasks)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Begin anew: a task gives itself most of what it gets."""
        count = self.units.shape[-1]
        units = torch.full((count, count), (1 - _OWN_SHARE) / max(count - 1, 1))
        units.fill_diagonal_(_OWN_SHARE if count > 1 else 1.0)
        with torch.no_grad():
            self.units.copy_(units)

    def mixing(self) -> Tensor:
        """The units."""
        return self.units


class LTB(Columns):
    """A tree of branches that is learned together with their weights (Guo et al., 2020).

    At each of the four stages there are K branches; each takes the output of one branch of the stage before. In training
    that parent is drawn anew for each batch from learned logits, by the straight-through Gumbel softmax (from torch's global
    source of random numbers); in eval mode it is the likeliest one.

    Simplified: one training learns the tree and the weights, with no warm-up before it and no second training of the final
    tree alone; there are as many branches at each stage as there are tasks; and the temperature falls geometrically from 5
    to 0.5, once an epoch.

    Attributes:
        logits: Shape (4, K, K): stage, branch, its parent in the stage before; 0 at first.
        temperature: Of the Gumbel softmax. It changes gradients alone: what is drawn does not depend on it.
    """

    def __init__(
        self, columns: Sequence[ResNetStages], tasks: Mapping[str, Task], *, image_shape: tuple[int, int, int]
    ) -> None:
        super().__init__(columns, tasks, image_shape=image_shape)
        self.logits = nn.Parameter(torch.zeros(STAGES, len(tasks), len(tasks)))
        self.temperature = _HOT

    def reset_parameters(self) -> None:
        """Begin anew: each parent is as likely as the others."""
        nn.init.zeros_(self.logits)

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Choose the temperature for an epoch, counted from 0, of so many."""
        self.temperature = _HOT * (_COLD / _HOT) ** (epoch / max(epochs - 1, 1))

    @property
    def parents(self) -> Tensor:
        """The likeliest parent of each branch, shape (4, K)."""
        return self.logits.argmax(dim=-1)

    def mixing(self) -> Tensor:
        """Zeros, and a one for each branch at its parent: drawn in training, the likeliest in eval mode."""
        if self.training:
            return F.gumbel_softmax(self.logits, tau=self.temperature, hard=True, dim=-1)
        return F.one_hot(self.parents, self.logits.shape[-1]).to(self.logits.dtype)
