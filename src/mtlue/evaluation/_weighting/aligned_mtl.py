"""Independent component alignment (Aligned-MTL)."""

from __future__ import annotations

import torch
from torch import Tensor

from mtlue._runtime import require
from mtlue.evaluation._weighting.gradients import GradientWeighting


class AlignedMTL(GradientWeighting):
    """Makes gradients orthogonal and equally long, then sums them (Senushkin et al., 2023, algorithm 1).

    All principal components of the tasks' gradients are scaled to the length of the smallest one. A matrix of gradients with
    the singular value decomposition U·S·V' becomes min(S)·U·V', and its rows are summed. Components of length zero are left
    out. Parameters that only one task uses, such as its head, get the plain gradient of that task. Needs torchjd.

    Raises:
        ImportError: torchjd is not installed.

    Example:
        >>> import torch
        >>> from mtlue import evaluation
        >>> net = torch.nn.Linear(2, 1, bias=False)
        >>> losses = {"age": 5 * net(torch.tensor([1.0, 0.0])).sum(), "gender": 2 * net(torch.tensor([0.0, 1.0])).sum()}
        >>> evaluation.AlignedMTL().backward(losses, net)
        >>> net.weight.grad.round(decimals=3)
        tensor([[2., 2.]])
    """

    def __init__(self) -> None:
        self._make = require("torchjd.aggregation", extra="evaluation").AlignedMTLWeighting

    def weights(self, gramian: Tensor) -> Tensor:
        """Return the weights for which the weighted sum of gradients equals the sum of the aligned ones."""
        # torchjd takes the mean of the aligned gradients by default, the authors take their sum.
        weights: Tensor = self._make(torch.ones_like(gramian[0]))(gramian)
        return weights
