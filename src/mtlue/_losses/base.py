"""What every base loss is."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from mtlue._losses.surrogate import Surrogate
from mtlue._runtime.memory import out_of_memory

NO_GRADIENT = (
    "surrogate: no gradient reaches the images; is there torch.no_grad, .detach() or a conversion to bytes in its forward, in "
    "the loss or in augment?"
)


@runtime_checkable
class BaseUELoss(Protocol):
    """The loss that a generator, or a pixel-wise search, minimises on perturbed images.

    Derive from it, or write any callable that has ``trains_surrogate``. A loss sees perturbed images only: it cannot tell
    where the perturbation came from.

    Attributes:
        trains_surrogate: Whether `mtlue.fit` trains the surrogate alternately on the perturbed images, as in EM. If not,
            the surrogate is frozen: so it is with a loss that derives from this class and does not say.

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

    def __repr__(self) -> str:
        """The call that makes it, if it takes no arguments; a loss that takes some should name them here."""
        return f"{type(self).__name__}()"


def loss_value(loss: BaseUELoss, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
    """What a loss says of a batch, a scalar tensor.

    Raises:
        TypeError: it is not one.
        ValueError: a loss of the user's own fails.
    """
    try:
        value: object = loss(surrogate, images, targets)
    except Exception as error:
        if out_of_memory(error) or type(loss).__module__.partition(".")[0] == "mtlue":
            raise
        raise ValueError(f"loss: {type(loss).__name__} failed: {type(error).__name__}: {error}") from error
    if isinstance(value, Tensor) and not value.ndim:
        return value
    got = str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
    if value is None:
        # The body of the protocol's own call is empty.
        inherited = type(loss).__call__ is BaseUELoss.__call__
        got += "; override __call__" if inherited else "; is a return missing in its __call__?"
    raise TypeError(f"loss: expected a scalar tensor from {type(loss).__name__}, got {got}")


def image_gradient(value: Tensor, images: Tensor) -> Tensor:
    """Gradient of a loss at images, or at what was added to them, of their shape.

    Raises:
        ValueError: nothing leads from the images to the loss.
    """
    gradient = torch.autograd.grad(value, images, allow_unused=True)[0] if value.requires_grad else None
    if gradient is None:
        raise ValueError(NO_GRADIENT)
    return gradient
