"""Targeted adversarial poisoning."""

from __future__ import annotations

from torch import Tensor

from mtlue._losses.base import BaseUELoss
from mtlue._losses.surrogate import Surrogate


class TAP(BaseUELoss):
    """Targeted adversarial: show a trained surrogate the features of another class (Fowl et al., 2021).

    The surrogate must have been trained on clean data; it is frozen.

    Example:
        >>> import torch, mtlue
        >>> from mtlue import evaluation
        >>> tasks = {"brighter_half": 2}
        >>> halves = torch.eye(2).repeat_interleave(32, dim=1).reshape(2, 1, 8, 8)
        >>> dataset = [(halves[index % 2], index % 2) for index in range(16)]
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> training = {"epochs": 10, "learning_rate": 0.01, "batch_size": 8, "progress": False}
        >>> trained = evaluation.train_victim(dataset, tasks=tasks, model=net, **training)
        >>> generator = mtlue.UEGenerator(tasks, (1, 8, 8), width=4)
        >>> mtlue.fit(generator, dataset, trained, loss=mtlue.TAP(), epochs=1, progress=False)
        History(1 epochs, base_loss=...)
    """

    trains_surrogate = False
    needs_trained_surrogate = True

    def __call__(self, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Return the mean of the tasks' losses towards the shifted labels."""
        return surrogate.adversarial_loss(images, targets)
