"""What every base loss is."""

from __future__ import annotations

import inspect
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from mtlue._losses.surrogate import Surrogate
from mtlue._runtime import described_by_attributes, out_of_memory

NO_GRADIENT = (
    "surrogate: no gradient reaches the images; is there torch.no_grad, .detach() or a conversion to bytes in its forward, in "
    "the loss or in augment?"
)


@runtime_checkable
class BaseUELoss(Protocol):
    """The loss that a generator, or a pixel-wise search, minimises on perturbed images.

    Derive from it, or write any callable that has ``trains_surrogate``. A loss need not know where a perturbation came from. It
    may also have:

    * A fourth parameter ``clean``: it then also gets the images without the perturbation, after the same random augmentation.
    * ``checkpoints``: modules or state dicts of the surrogate that it looks at instead of the surrogate, as SEP does. The last
      of them has to be trained.
    * ``state_dict()`` and ``load_state_dict(state)``, if it has a state of its own, such as networks that it trains. A run that
      resumes after a kill then restores the state. It holds tensors and plain values.

    Public attributes are its settings and make up its ``repr``. A run does not resume a checkpoint with other settings, or with
    other values in the tensors and networks that the loss holds, except those in its state. Keep what changes during a run,
    such as a counter, in the state and in a private attribute.

    Attributes:
        trains_surrogate: Whether `mtlue.fit` trains the surrogate alternately on the perturbed images, as in EM. If not, the
            surrogate is frozen, which is the default.
        needs_trained_surrogate: Whether it needs a surrogate that was trained on clean data, as TAP and SEP do. A warning then
            names a surrogate that is at chance.

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

    def __init_subclass__(cls) -> None:
        """Give what a loss may leave out its default; as a member of the protocol, every callable would have to have it."""
        super().__init_subclass__()
        cls.needs_trained_surrogate = getattr(cls, "needs_trained_surrogate", False)  # type: ignore[attr-defined]

    # To a type checker the last two say that a loss may have more parameters, ``clean`` among them.
    def __call__(self, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor], *more: Any, **named: Any) -> Tensor:
        """Loss of a batch, a scalar that a gradient flows through to ``images``.

        Args:
            surrogate: The model that stands for the one to be fooled.
            images: Perturbed images in [0, 1], augmented if `mtlue.fit` was given ``augment``, shape (B, C, H, W).
            targets: True labels by task.
            more: Not passed. Your own loss may have a fourth parameter instead, which is called
            named: ``clean``: the images without the perturbation, for which there is no gradient.
        """
        ...

    def __repr__(self) -> str:
        """The call that makes it, if its public attributes are its arguments."""
        return described_by_attributes(self)


def takes_clean_images(loss: BaseUELoss) -> bool:
    """Whether a loss has a parameter for the images without the perturbation."""
    try:
        return "clean" in inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss).parameters
    except (TypeError, ValueError):  # a callable without a signature, such as one in C
        return False


def has_state(brought: object) -> bool:
    """Whether a loss, or what else a caller brings, has a state of its own, which a run that goes on needs."""
    return hasattr(brought, "state_dict")


def loss_value(
    loss: BaseUELoss, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor | None = None
) -> Tensor:
    """What a loss says of a batch, a scalar tensor.

    Args:
        loss: The loss.
        surrogate: The surrogate.
        images: Perturbed images as the surrogate sees them.
        targets: Their labels.
        clean: The same without the perturbation, for a loss that takes them.

    Raises:
        TypeError: it is not one.
        ValueError: a loss of the user's own fails.
    """
    name, cached = getattr(loss, "__name__", type(loss).__name__), torch.is_autocast_cache_enabled()
    try:
        # Networks that are trained in the loss must not be seen with the weights that they had before a step.
        torch.set_autocast_cache_enabled(cached and not has_state(loss))
        more = {} if clean is None else {"clean": clean}
        value: object = loss(surrogate, images, targets, **more)
    except Exception as error:
        if out_of_memory(error) or type(loss).__module__.partition(".")[0] == "mtlue":
            raise
        raise ValueError(f"loss: {name} failed: {type(error).__name__}: {error}") from error
    finally:
        torch.set_autocast_cache_enabled(cached)
    if isinstance(value, Tensor) and not value.ndim:
        return value
    got = str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
    if value is None:
        # The body of the protocol's own call is empty.
        inherited = type(loss).__call__ is BaseUELoss.__call__
        got += "; override __call__" if inherited else "; is a return missing in its __call__?"
    raise TypeError(f"loss: expected a scalar tensor from {name}, got {got}")


def with_gradient(value: Tensor, images: Tensor, gradient: Tensor) -> Tensor:
    """A value, detached, whose gradient at images is one that is known already."""
    # What is multiplied is zero.
    return value.detach() + (gradient * (images - images.detach())).sum()


def image_gradient(value: Tensor, images: Tensor, *, retain_graph: bool = False) -> Tensor:
    """Gradient of a loss at images, or at what was added to them, of their shape.

    Raises:
        ValueError: nothing leads from the images to the loss.
    """
    gradient = None
    if value.requires_grad:
        gradient = torch.autograd.grad(value, images, allow_unused=True, retain_graph=retain_graph)[0]
    if gradient is None:
        raise ValueError(NO_GRADIENT)
    return gradient
