"""Uncertainty weighting (UW)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mtlue._runtime import require
from mtlue.evaluation._weighting.base import Weighting, stacked


class UW(Weighting):
    """Learns the weights as uncertainties of the tasks (Kendall et al., 2018).

    It minimises the sum over the tasks of exp(-s) / 2 · loss + s / 2. Each task has a log-variance s, which starts at 0. Needs
    torchjd.

    Raises:
        ImportError: torchjd is not installed.

    Example:
        >>> import torch
        >>> from mtlue import evaluation
        >>> weighting = evaluation.UW()
        >>> weighting.prepare(2, torch.device("cpu"))
        >>> [log_variances] = weighting.parameters()
        >>> log_variances
        Parameter containing:
        tensor([0., 0.], requires_grad=True)
    """

    def __init__(self) -> None:
        self._make = require("torchjd.scalarization", extra="evaluation").UW
        self._scalarizer: Any = None

    def prepare(self, tasks_count: int, device: torch.device) -> None:
        """Set the log-variances to 0."""
        self._scalarizer = self._make(tasks_count).to(device)

    def parameters(self) -> Iterable[nn.Parameter]:
        """Return the log-variances, one tensor (K,)."""
        return () if self._scalarizer is None else tuple(self._scalarizer.parameters())

    def backward(self, losses: Mapping[str, Tensor], module: nn.Module) -> None:
        """Add the gradients of the weighted sum, also to the log-variances.

        Raises:
            RuntimeError: `prepare` was not called.
        """
        if self._scalarizer is None:
            raise RuntimeError("UW: call prepare(tasks_count, device) before the first step")
        self._scalarizer(stacked(losses)).backward()
