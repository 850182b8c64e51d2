"""Learning to branch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlue._models.columns import Columns
from mtlue._models.resnet_stages import STAGES, ResNetStages
from mtlue._tasks import Task

_HOT, _COLD = 5.0, 0.5


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
