"""Surface normal estimation."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue._tasks.maps import RegressionMap


class SurfaceNormals(RegressionMap):
    """A task with the unit normal of the surface at each pixel. The zero vector means no reading.

    Labels are floats of shape (3, H, W), in batches (B, 3, H, W). A model answers in the same form with vectors of any length,
    because only the direction counts. The loss is one minus the mean cosine over the pixels with a reading. TAP and SEP are
    untargeted (appendix A.1).

    Example:
        >>> import torch, mtlue
        >>> up = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
        >>> mtlue.SurfaceNormals().loss(-2 * up, up)
        tensor(2.)
    """

    label_channels = 3

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """Return one minus the mean cosine over the pixels with a reading, shape (); zero if there are none."""
        self.check_same_shape(output, target)
        observed = self.observed(target)
        known = torch.where(observed, output, target)
        cosine = (F.normalize(known, dim=1, eps=1e-6) * F.normalize(target, dim=1)).sum(dim=1, keepdim=True)
        return ((1.0 - cosine) * observed).sum() / observed.sum().clamp_min(1)
