"""Weightings that use the gradients of the tasks."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn

from mtlue.evaluation._weighting.base import Weighting

#: Gradient of one parameter for each task; None for a task whose loss does not depend on it.
_Gradients: TypeAlias = Sequence[Tensor | None]


class GradientWeighting(Weighting):
    """Computes the gradient of the shared parameters as a weighted sum over the tasks.

    A parameter is shared if the losses of two tasks or more depend on it. Any other, such as a parameter of a head, gets the
    gradient of its task unchanged. The weights depend on the inner products of the tasks' gradients over all shared parameters.
    A step holds the gradients of all tasks in memory.
    """

    @abstractmethod
    def weights(self, gramian: Tensor) -> Tensor:
        """Return weights (K,) from the inner products of the tasks' gradients, (K, K)."""

    def backward(self, losses: Mapping[str, Tensor], module: nn.Module) -> None:
        """Add the weighted gradients.

        Raises:
            FloatingPointError: a shared gradient or a weight is not finite.
        """
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        gradients = _gradients(list(losses.values()), parameters)
        shared = [index for index, each in enumerate(gradients) if len(_present(each)) > 1]
        # A caller's autocast would round the values that are weighed here.
        with torch.no_grad(), torch.autocast(next(iter(losses.values())).device.type, enabled=False):
            weights = self._finite_weights([gradients[index] for index in shared], list(losses)) if shared else None
            for index, (parameter, each) in enumerate(zip(parameters, gradients, strict=True)):
                if weights is not None and index in shared:
                    _add(parameter, (weights @ _rows(each)).view_as(parameter))
                elif present := _present(each):
                    _add(parameter, present[0])

    def _finite_weights(self, shared: Sequence[_Gradients], names: Sequence[str]) -> Tensor:
        gramian = torch.stack([rows @ rows.T for rows in map(_rows, shared)]).sum(dim=0)
        if not gramian.isfinite().all():
            squares = zip(names, gramian.diagonal().tolist(), strict=True)
            wrong = [name for name, square in squares if not square < float("inf")]
            raise FloatingPointError(f"{self!r}: the gradient of {wrong} is not finite, or too large to be squared")
        weights = self.weights(gramian)
        if not weights.isfinite().all():
            raise FloatingPointError(f"{self!r}: no finite weights for gradients with the products {gramian.tolist()}")
        return weights


def _gradients(losses: Sequence[Tensor], parameters: Sequence[nn.Parameter]) -> list[_Gradients]:
    """Return the gradients by task for each parameter."""
    by_task = [
        # The loss of a task can be a constant if the batch has no label for it.
        torch.autograd.grad(loss, parameters, retain_graph=index + 1 < len(losses), allow_unused=True)
        if loss.requires_grad
        else [None] * len(parameters)
        for index, loss in enumerate(losses)
    ]
    return list(zip(*by_task, strict=True))


def _present(gradients: _Gradients) -> list[Tensor]:
    return [gradient for gradient in gradients if gradient is not None]


def _rows(gradients: _Gradients) -> Tensor:
    """Return the gradients of one parameter as a matrix (K, size), with zeros for missing gradients."""
    nothing = torch.zeros_like(_present(gradients)[0])
    return torch.stack([(nothing if gradient is None else gradient).flatten() for gradient in gradients])


def _add(parameter: nn.Parameter, gradient: Tensor) -> None:
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
