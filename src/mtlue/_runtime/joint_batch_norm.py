"""Batch normalisation by the statistics of a batch of which each rank has a share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from mtlue._runtime.share import Share, active_share


class JointBatchNorm(TorchFunctionMode):
    """Normalises by the statistics of the whole batch in this context, in any module. The modules do not change.

    `torch.nn.SyncBatchNorm` does this on a GPU only, and has to replace the modules.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, or its replacement."""
        share = active_share()
        if func is F.batch_norm and share is not None:
            return _batch_norm(share, *args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    share: Share,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    if not training:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    mean, variance, count = _statistics(share, input.detach())
    if count <= 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {tuple(input.shape)}")
    if running_mean is not None and running_var is not None:
        running_mean.lerp_(mean.to(running_mean.dtype), momentum)
        running_var.lerp_((variance * (count / (count - 1))).to(running_var.dtype), momentum)
    output: Tensor = _Normalised.apply(input, weight, bias, mean, variance, count, eps, share)
    return output


def _statistics(share: Share, values: Tensor) -> tuple[Tensor, Tensor, int]:
    """Return mean and variance of each channel over all ranks, and the number of values."""
    values = values.float()
    axes = _axes(values)
    count = values.numel() // values.shape[1]
    mean = values.mean(dim=axes)
    # The squares are taken from the rank's own mean: those from zero would lose the digits of a small variance.
    squares = (values - _by_channel(mean, values)).square().sum(dim=axes)
    mine = torch.stack([torch.full_like(mean, count), mean, squares])
    by_rank = mine.new_zeros((share.job.size, *mine.shape))
    by_rank[share.job.rank] = mine
    counts, means, squares = share.job.sum(by_rank).unbind(1)
    total = count * len(share) // share.count
    mean = (counts * means).sum(dim=0) / total
    variance = (squares + counts * (means - mean).square()).sum(dim=0) / total
    return mean, variance, total


class _Normalised(torch.autograd.Function):
    """Normalised values, whose gradient takes into account that all values of all ranks move mean and variance."""

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        variance: Tensor,
        count: int,
        eps: float,
        share: Share,
    ) -> Tensor:
        ctx.count, ctx.share, ctx.biased = count, share, bias is not None
        ctx.save_for_backward(input, weight, mean, (variance + eps).rsqrt())
        return F.batch_norm(input, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, mean, scale = ctx.saved_tensors
        share: Share = ctx.share
        axes = _axes(values)
        deviation, given = values.float() - _by_channel(mean, values), gradient.float()
        sums = torch.stack([given.sum(dim=axes), (given * deviation).sum(dim=axes)])
        # Gradients are those of a mean over the rank's share.
        shift, slope = (share.job.sum(sums * share.weight) / (share.weight * ctx.count)).unbind()
        factor = scale if weight is None else scale * weight.float()
        moved = given - _by_channel(shift, values) - deviation * _by_channel(slope * scale.square(), values)
        of_input = (moved * _by_channel(factor, values)).to(values.dtype)
        of_weight = None if weight is None else (sums[1] * scale).to(weight.dtype)
        of_bias = sums[0].to(gradient.dtype if weight is None else weight.dtype) if ctx.biased else None
        return of_input, of_weight, of_bias, None, None, None, None, None


def _axes(values: Tensor) -> list[int]:
    return [axis for axis in range(values.ndim) if axis != 1]


def _by_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.reshape(1, -1, *[1] * (like.ndim - 2))
