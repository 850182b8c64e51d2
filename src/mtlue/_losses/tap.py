"""Targeted adversarial poisoning."""

from __future__ import annotations

from torch import Tensor

from mtlue._losses.base import BaseUELoss
from mtlue._losses.surrogate import Surrogate


class TAP(BaseUELoss):
    """Targeted adversarial: show a trained surrogate the features of another class (Fowl et al., 2021).

    The surrogate must have been trained on clean data; it is frozen.
    """

    trains_surrogate = False

    def __call__(self, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """The tasks' mean loss towards the shifted labels."""
        return surrogate.adversarial_loss(images, targets)

    def __repr__(self) -> str:
        """The call that makes it."""
        return "TAP()"
