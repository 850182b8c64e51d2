"""Architectures with a network for each task, which exchange feature maps between their stages."""

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

# The initial weight of a task's own maps in a cross-stitch unit.
_OWN_SHARE = 0.9
# Temperature of LTB's Gumbel softmax, in the first epoch and in the last.
_HOT, _COLD = 5.0, 0.5


class Columns(TaskFeaturesModel):
    """A ResNet for each task. The input of each stage mixes the outputs of all columns in the stage before.

    Args:
        columns: A network for each task, all of one shape.
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
        """Return weights (4, K, K): stage, task of the receiving column, task of the giving column."""

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return feature maps (B, F, h, w) of each column."""
        columns = list(cast(Iterable[ResNetStages], self.columns))
        maps: list[Tensor] = [column.stem(images) for column in columns]
        weights = self.mixing()
        for stage in range(STAGES):
            mixed = torch.einsum("ij,jbchw->ibchw", weights[stage], torch.stack(maps))
            maps = [column.layers[stage](given) for column, given in zip(columns, mixed, strict=True)]
        return maps


class CrossStitch(Columns):
    """A network for each task, joined by learned linear mixtures before each of the four stages (Misra et al., 2016).

    A unit has one weight for each pair of tasks, shared by all channels. Initially a task gives itself 0.9 and all others
    together get 0.1, as the paper recommends. Two things are simplified: the columns are not trained on their own tasks
    beforehand, and the units use the learning rate of the rest.

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
        """Reset the units: a task gives itself most of its input."""
        count = self.units.shape[-1]
        units = torch.full((count, count), (1 - _OWN_SHARE) / max(count - 1, 1))
        units.fill_diagonal_(_OWN_SHARE if count > 1 else 1.0)
        with torch.no_grad():
            self.units.copy_(units)

    def mixing(self) -> Tensor:
        """Return the units."""
        return self.units


class LTB(Columns):
    """A tree of branches that is learned together with its weights (Guo et al., 2020).

    Each of the four stages has K branches. Each branch takes the output of one branch of the stage before, its parent. In
    training, parents are drawn for each batch from learned logits by the straight-through Gumbel softmax, with torch's global
    random numbers. In eval mode each branch takes its likeliest parent.

    Three things are simplified. One training learns the tree and the weights, without a warm-up and without a second training
    of the final tree. Each stage has as many branches as there are tasks. And the temperature falls geometrically from 5 to
    0.5, once each epoch.

    Attributes:
        logits: Shape (4, K, K): stage, branch, parent in the stage before; 0 at first.
        temperature: Temperature of the Gumbel softmax. It affects only gradients, not what is drawn.
    """

    def __init__(
        self, columns: Sequence[ResNetStages], tasks: Mapping[str, Task], *, image_shape: tuple[int, int, int]
    ) -> None:
        super().__init__(columns, tasks, image_shape=image_shape)
        self.logits = nn.Parameter(torch.zeros(STAGES, len(tasks), len(tasks)))
        self.temperature = _HOT

    def reset_parameters(self) -> None:
        """Reset the logits: all parents are equally likely."""
        nn.init.zeros_(self.logits)

    def set_epoch(self, epoch: int, epochs: int) -> None:
        """Set the temperature for an epoch, counted from 0."""
        self.temperature = _HOT * (_COLD / _HOT) ** (epoch / max(epochs - 1, 1))

    @property
    def parents(self) -> Tensor:
        """Return the likeliest parent of each branch, shape (4, K)."""
        return self.logits.argmax(dim=-1)

    def mixing(self) -> Tensor:
        """Return zeros, with a one for each branch at its parent: drawn in training, the likeliest in eval mode."""
        if self.training:
            return F.gumbel_softmax(self.logits, tau=self.temperature, hard=True, dim=-1)
        return F.one_hot(self.parents, self.logits.shape[-1]).to(self.logits.dtype)
