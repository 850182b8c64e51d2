"""Depth estimation."""

from __future__ import annotations

import torch
from torch import Tensor

from mtlue._tasks.maps import RegressionMap


class Depth(RegressionMap):
    """A task with the distance to each pixel. 0 means no reading.

    Labels are floats of shape (1, H, W), in batches (B, 1, H, W), in any unit. A model answers in the same form. The loss is
    the mean absolute error over the pixels with a reading. Depth has no wrong value to aim for, so TAP and SEP are untargeted
    (appendix A.1).

    The losses of several tasks are averaged unscaled, so the unit acts as a weight. In metres the error is about as large as
    other losses. In millimetres it would drown them.

    Example:
        >>> import torch, mtlue
        >>> target = torch.tensor([[[[2.0, 0.0]]]])
        >>> mtlue.Depth().loss(torch.tensor([[[[3.5, 9.0]]]]), target)
        tensor(1.5000)
    """

    label_channels = 1

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return the mean of |output - target| over the pixels with a reading, shape ()."""
        self.check_same_shape(output, target)
        observed = self.observed(target)
        # Selected before the subtraction, so that an infinite output at an unlabelled pixel cannot become NaN.
        return (torch.where(observed, output, target) - target).abs().sum() / observed.sum().clamp_min(1)
