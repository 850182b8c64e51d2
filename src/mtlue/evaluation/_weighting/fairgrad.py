"""Fair resource allocation (FairGrad)."""

from __future__ import annotations

import torch
from torch import Tensor

from mtlue._checks import check_number
from mtlue._runtime import require
from mtlue.evaluation._weighting.gradients import GradientWeighting


class FairGrad(GradientWeighting):
    """Gives each task its alpha-fair share of the step (Ban & Ji, 2024, equation 4).

    Let G be the inner products of the tasks' gradients. The weights w solve G·w = w^(-1/alpha), by non-linear least squares as
    in the authors' code. If no weights solve it, for instance because two gradients cancel each other, the closest weights are
    used. A task without a gradient, because nothing was labelled, is left out. Parameters that only one task uses, such as its
    head, get the plain gradient of that task. Needs torchjd and SciPy.

    Args:
        alpha: 0 weights the tasks equally (1/K each), 1 is proportional fairness, and large values favour the task that gains
            least.

    Raises:
        ImportError: torchjd or SciPy is not installed.
        TypeError: ``alpha`` is not a number.
        ValueError: ``alpha`` is negative.

    Example:
        >>> import torch
        >>> from mtlue import evaluation
        >>> net = torch.nn.Linear(2, 1, bias=False)
        >>> losses = {"age": 5 * net(torch.tensor([1.0, 0.0])).sum(), "gender": 2 * net(torch.tensor([0.0, 1.0])).sum()}
        >>> evaluation.FairGrad(alpha=1.0).backward(losses, net)
        >>> net.weight.grad.round(decimals=3)
        tensor([[1., 1.]])
    """

    def __init__(self, *, alpha: float = 1.0) -> None:
        self.alpha = check_number("alpha", alpha)
        require("scipy.optimize", extra="evaluation")
        self._weighting = require("torchjd.aggregation", extra="evaluation").FairGradWeighting(self.alpha)

    def weights(self, gramian: Tensor) -> Tensor:
        """Return the alpha-fair weights; 0 for a task without a gradient."""
        weights = torch.zeros_like(gramian[0])
        active = gramian.diagonal() > 0
        if not active.any():
            return weights
        products = gramian[active][:, active]
        # The solver starts at 1/K and stops early if the weights are far from that. Products c times as large make the weights
        # c^(-alpha / (alpha + 1)) times as large, so the products can be scaled to the order of 1.
        scale = products.diagonal().mean()
        solved: Tensor = self._weighting(products / scale)
        if self.alpha:
            solved = solved * scale ** (-self.alpha / (self.alpha + 1))
        weights[active] = solved
        return weights

    def __repr__(self) -> str:
        """Return the call that makes the weighting."""
        return f"FairGrad(alpha={self.alpha:g})"
