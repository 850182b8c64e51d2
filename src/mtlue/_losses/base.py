"""What every base loss is."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from mtlue._losses.surrogate import Surrogate


@runtime_checkable
class BaseUELoss(Protocol):
    """The loss that a generator, or a pixel-wise search, minimises on perturbed images.

    Derive from it, or write any callable that has ``trains_surrogate``. A loss sees perturbed images only: it cannot tell
    where the perturbation came from.

    Attributes:
        trains_surrogate: Whether `mtlue.fit` trains the surrogate alternately on the perturbed images, as in EM. If not,
            the surrogate is frozen.

    Example:
        >>> import torch, mtlue
        >>> class Confuse(mtlue.BaseUELoss):
        ...     trains_surrogate = False
        ...     def __call__(self, surrogate, images, targets):
        ...         return -surrogate.loss(images, targets)
        >>> isinstance(Confuse(), mtlue.BaseUELoss)
        True
    """

    trains_surrogate: bool = False

    def __call__(self, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """Loss of a batch, a scalar that a gradient flows through to ``images``.

        Args:
            surrogate: The model that stands for the one to be fooled.
            images: Perturbed images in [0, 1], augmented if `mtlue.fit` was given ``augment``, shape (B, C, H, W).
            targets: True labels by task.
        """
        ...
