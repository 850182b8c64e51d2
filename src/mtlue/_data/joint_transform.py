"""Augmentation that moves label maps together with the images."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from mtlue._checks import check_arity
from mtlue._data.batches import Batch
from mtlue._runtime import RandomState, own_rows, stand_ins
from mtlue._tasks import Task, read_targets


class JointTransform(ABC):
    """Augmentation of batches that changes images and targets together, for label maps that move with the pixels.

    Derive from this class to pass such an augmentation to `mtlue.fit`, `mtlue.baselines.pgd` or
    `mtlue.evaluation.train_victim`, where a plain function sees only the images. Let gradients pass through the images. Draw
    random numbers from torch's global generator, which the training seeds.

    Example:
        >>> import torch, mtlue
        >>> from mtlue import datasets, evaluation
        >>> class Mirror(datasets.JointTransform):
        ...     def __call__(self, images, targets):
        ...         if torch.rand(()) < 0.5:
        ...             return images, targets
        ...         return images.flip(-1), {name: target.flip(-1) for name, target in targets.items()}
        >>> row = torch.tensor([[[[0.25, 0.5]]]])
        >>> images, targets = Mirror()(row, {"depth": 2 * row})
        >>> torch.equal(targets["depth"], 2 * images)  # a pixel keeps its depth
        True
        >>> dataset = [(torch.rand(3, 8, 8), torch.rand(1, 8, 8)) for _ in range(8)]
        >>> net, depth = torch.nn.Conv2d(3, 1, 3, padding=1), {"depth": mtlue.Depth()}
        >>> training = {"transform": Mirror(), "epochs": 1, "progress": False}
        >>> victim = evaluation.train_victim(dataset, tasks=depth, model=net, **training)
    """

    @abstractmethod
    def __call__(self, images: Tensor, targets: dict[str, Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return an augmented copy of a batch.

        Args:
            images: Floats in [0, 1], shape (B, C, H, W).
            targets: Labels by task, as their tasks read them.

        Returns:
            Images and targets of the same shapes. Do not change the arguments.
        """

    def __repr__(self) -> str:
        """Return the call that makes it, if it takes no arguments. If yours does, override this to show them."""
        return f"{type(self).__name__}()"


#: A function of images (B, C, H, W) in [0, 1], or a joint transform, which changes the targets too.
Transform: TypeAlias = Callable[[Tensor], Tensor] | JointTransform


def apply_transform(
    transform: Transform | None, images: Tensor, targets: dict[str, Tensor]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return images and targets after a transform of either kind, or unchanged without one.

    Raises:
        TypeError: a joint transform returns anything but a pair.
    """
    if transform is None:
        return images, targets
    if isinstance(transform, JointTransform):
        # A separate dictionary: a transform that replaces entries must not change the caller's.
        pair: object = transform(images, dict(targets))
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(
                f"{type(transform).__name__}: expected it to return a pair (images, targets), got {type(pair).__name__}"
            )
        return pair
    return transform(images), targets


def checked_transform(transform: Transform | None, *, argument: str = "augment") -> Transform | None:
    """Return an argument if it can be called on batches.

    Raises:
        TypeError: it cannot be called, or is a class.
    """
    if transform is not None and (isinstance(transform, type) or not callable(transform)):
        raise TypeError(f"{argument}: expected a callable on batches of images, got {transform!r}")
    if transform is not None:
        check_arity(argument, transform, *(("images", "targets") if isinstance(transform, JointTransform) else ("images",)))
    return transform


def augmented(transform: Transform | None, batch: Batch, tasks: Mapping[str, Task], *, argument: str = "augment") -> Batch:
    """Return a batch as a network sees it in training: after `apply_transform`, with valid labels.

    Raises:
        TypeError: a transform does not return images, or a joint one a pair of images and readable labels.
        ValueError: the returned images have another number of axes or channels, or another dtype; a joint transform returns
            targets without one of the tasks, an invalid label, or labels for another number of samples.
    """
    images = batch.images
    if transform is None:
        return batch.seen_as(images, read_targets(batch.targets, tasks).to(images.device))
    # On several ranks it is drawn for the whole batch.
    targets = batch.targets if batch.share is None else batch.targets.each(stand_ins)
    seen, moved = apply_transform(transform, stand_ins(images), targets)
    if not isinstance(seen, Tensor):
        raise TypeError(f"{argument}: expected images from {transform!r}, got {type(seen).__name__}")
    # A crop may be smaller. Under autocast a convolution returns bfloat16.
    if seen.ndim != 4 or seen.shape[1] != images.shape[1] or seen.dtype not in (images.dtype, torch.bfloat16):
        wanted, got = f"(B, {images.shape[1]}, H, W), {images.dtype}", f"{tuple(seen.shape)}, {seen.dtype}"
        raise ValueError(f"{argument}: expected images with the same channels and dtype, {wanted}, got {got}")
    try:
        read = read_targets(moved, tasks).to(seen.device)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{argument}: {error}") from None
    for name, target in read.items():
        if target.shape[:1] != seen.shape[:1]:
            raise ValueError(f"{argument}: task {name!r}: labels of shape {tuple(target.shape)} for {len(seen)} images")
    return batch.seen_as(own_rows(seen), read if batch.share is None else read.each(own_rows))


def augmented_alike(
    transform: Transform | None, batch: Batch, clean: Tensor, tasks: Mapping[str, Task]
) -> tuple[Batch, Tensor]:
    """Pass a perturbed batch and a copy of its clean images through one draw of an augmentation.

    Raises what `augmented` raises.
    """
    # A copy, like the perturbed batch: the transform or the loss may work in place.
    clean = clean.clone()
    start = RandomState(batch.images.device)
    seen = augmented(transform, batch, tasks)
    start.restore()
    with torch.no_grad():
        return seen, augmented(transform, batch.seen_as(clean), tasks).images
