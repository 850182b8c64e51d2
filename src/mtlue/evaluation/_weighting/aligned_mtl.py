"""Independent component alignment."""

from __future__ import annotations

import torch
from torch import Tensor

from mtlue._runtime import require
from mtlue.evaluation._weighting.gradients import GradientWeighting


class AlignedMTL(GradientWeighting):
    """Gradients made orthogonal and equally long, then summed (Senushkin et al., 2023, algorithm 1).

    The principal components of the tasks' gradients are all scaled to the length of the smallest: the matrix of gradients
    with the singular value decomposition U·S·V' becomes min(S)·U·V', and the rows of that are summed. Components of zero
    length are left out. It takes torchjd. Only what two tasks or more share
    is weighted so; a head gets the plain gradient of its task.

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
        """Weights under which the sum of the gradients is that of the aligned ones."""
        # torchjd takes the mean of the aligned gradients unless told otherwise; the authors take their sum.
        weights: Tensor = self._make(torch.ones_like(gramian[0]))(gramian)
        return weights
