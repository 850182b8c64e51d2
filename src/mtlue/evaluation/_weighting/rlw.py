"""Random loss weighting (RLW)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from mtlue._runtime import require
from mtlue.evaluation._weighting.base import Weighting, stacked


class RLW(Weighting):
    """Draws new weights in each step: the softmax of standard normal numbers (Lin et al., 2022, algorithm 2).

    The numbers come from torch's global generator on the losses' device, which a training seeds. Needs torchjd.

    Raises:
        ImportError: torchjd is not installed.

    Example:
        >>> import torch
        >>> from mtlue import evaluation
        >>> net = torch.nn.Linear(1, 2, bias=False)
        >>> answer = net(torch.ones(1))
        >>> evaluation.RLW().backward({"age": answer[0], "gender": answer[1]}, net)
        >>> round(float(net.weight.grad.sum()), 4)  # two weights, others in each step
        1.0
    """

    def __init__(self) -> None:
        self._scalarizer = require("torchjd.scalarization", extra="evaluation").Random()

    def backward(self, losses: Mapping[str, Tensor], module: nn.Module) -> None:
        """Add the gradients of the weighted sum."""
        self._scalarizer(stacked(losses)).backward()
