"""The base class of all base losses."""

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

    Derive from this class, or write any callable that has ``trains_surrogate``. A loss need not know what made a perturbation.
    It may also have:

    * A fourth parameter ``clean``, to get the images without the perturbation too, after the same random augmentation.
    * ``checkpoints``: modules or state dicts of the surrogate to use in its place, as SEP does. The last of them has to be
      trained.
    * ``surrogate_loss(surrogate, images, targets)``: what the surrogate minimises in its turn, in place of the tasks' mean
      loss, as in REM.
    * ``state_dict()`` and ``load_state_dict(state)``, if it has a state, such as networks that it trains. A run that resumes
      restores the state, which may hold tensors and plain values.

    Public attributes are settings and make up the ``repr``. A run does not resume a checkpoint with other settings, or with
    other values in the loss's tensors and networks, except those in its state. If something changes during a run, such as a
    counter, keep it in a private attribute and in the state.

    Attributes:
        trains_surrogate: Whether `mtlue.fit` trains the surrogate in turn on the perturbed images, as in EM. If False, which is
            the default, the surrogate is frozen.
        needs_trained_surrogate: Whether the surrogate has to be trained on clean data, as for TAP and SEP. You then get a
            warning if it is at chance.

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
        """Give optional attributes their defaults. As members of the protocol, they would be required of every callable."""
        super().__init_subclass__()
        cls.needs_trained_surrogate = getattr(cls, "needs_trained_surrogate", False)  # type: ignore[attr-defined]

    # To a type checker, the last two parameters say that a loss may have more, such as ``clean``.
    def __call__(self, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor], *more: Any, **named: Any) -> Tensor:
        """Return the loss of a batch: a scalar with a gradient to ``images``.

        Args:
            surrogate: The model that stands for the one to fool.
            images: Perturbed images in [0, 1], shape (B, C, H, W), augmented if `mtlue.fit` has ``augment``.
            targets: True labels by task.
            more: Not passed. Your own loss may have a fourth parameter instead.
            named: ``clean``: the images without the perturbation. They take no gradient.
        """
        ...

    def __repr__(self) -> str:
        """Return the call that makes the loss, if its public attributes are its arguments."""
        return described_by_attributes(self)


def takes_clean_images(loss: BaseUELoss) -> bool:
    """Return whether a loss has a parameter for the images without the perturbation."""
    try:
        return "clean" in inspect.signature(loss.forward if isinstance(loss, nn.Module) else loss).parameters
    except (TypeError, ValueError):  # a callable without a signature, such as one in C
        return False


def has_state(brought: object) -> bool:
    """Return whether a caller's object has a state that a resumed run needs."""
    return hasattr(brought, "state_dict")


def loss_value(
    loss: BaseUELoss, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor], clean: Tensor | None = None
) -> Tensor:
    """Return the value of a loss on a batch, as a scalar tensor.

    Args:
        loss: The loss.
        surrogate: The surrogate.
        images: Perturbed images as the surrogate sees them.
        targets: Their labels.
        clean: The same images without the perturbation, for a loss that takes them.

    Raises:
        TypeError: the value is not a scalar tensor.
        ValueError: a loss of the user's own fails.
    """
    name, cached = getattr(loss, "__name__", type(loss).__name__), torch.is_autocast_cache_enabled()
    try:
        # Autocast's cache must not hand the loss's own networks the weights they had before a step.
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
        # The protocol's own call has an empty body.
        inherited = type(loss).__call__ is BaseUELoss.__call__
        got += "; override __call__" if inherited else "; is a return missing in its __call__?"
    raise TypeError(f"loss: expected a scalar tensor from {name}, got {got}")


def surrogate_loss(loss: BaseUELoss, surrogate: Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
    """Return what a surrogate minimises if it is trained in turn, a scalar tensor.

    Args:
        loss: The base loss, which may say so.
        surrogate: The surrogate, in training mode.
        images: Perturbed images as the surrogate sees them.
        targets: Their labels.

    Raises:
        TypeError: the loss' own answer is no scalar tensor.
    """
    own = getattr(loss, "surrogate_loss", None)
    value: object = surrogate.loss(images, targets) if own is None else own(surrogate, images, targets)
    if isinstance(value, Tensor) and not value.ndim:
        return value
    name, got = type(loss).__name__, str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
    raise TypeError(f"loss: expected a scalar tensor from {name}.surrogate_loss, got {got}")


def with_gradient(value: Tensor, images: Tensor, gradient: Tensor) -> Tensor:
    """Return a detached value whose gradient at the images is already known."""
    # The factor is zero.
    return value.detach() + (gradient * (images - images.detach())).sum()


def image_gradient(value: Tensor, images: Tensor, *, retain_graph: bool = False) -> Tensor:
    """Return the gradient of a loss at images, or at what was added to them, in their shape.

    Raises:
        ValueError: the loss does not depend on the images.
    """
    gradient = None
    if value.requires_grad:
        gradient = torch.autograd.grad(value, images, allow_unused=True, retain_graph=retain_graph)[0]
    if gradient is None:
        raise ValueError(NO_GRADIENT)
    return gradient
