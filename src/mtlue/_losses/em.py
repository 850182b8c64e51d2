"""Error-minimising examples."""

from __future__ import annotations

from torch import Tensor

from mtlue._losses.base import BaseUELoss
from mtlue._losses.surrogate import Surrogate


class EM(BaseUELoss):
    """Error-minimising: make the true labels easy, so that nothing is left to learn (Huang et al., 2021).

    The surrogate is trained alternately with the generator (Algorithm 1).

    Example:
        >>> import torch, mtlue
        >>> dataset = [(torch.rand(1, 8, 8), index % 2) for index in range(16)]
        >>> generator = mtlue.UEGenerator({"shape": 2}, (1, 8, 8), width=4)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> history = mtlue.fit(generator, dataset, net, loss=mtlue.EM(), epochs=2, progress=False)
        >>> # Accuracy of the surrogate on perturbed images. Training ends once it is high.
        >>> 0.0 <= history[-1].surrogate_accuracy <= 1.0
        True
    """

    trains_surrogate = True

    def __call__(self, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Return the mean of the tasks' losses at the true labels."""
        return surrogate.loss(images, targets)
