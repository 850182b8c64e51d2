"""Projection of what a linear model can use out of the images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtlue._checks import check_count, check_image_size
from mtlue._runtime.device import choose_device
from mtlue._tasks import Task
from mtlue.defenses._checked_samples import CheckedSamples, check_samples
from mtlue.defenses._defense import Defense
from mtlue.defenses._linear_model import fit_linear_model


class OrthogonalProjection(Defense):
    """Remove from the training images all that a linear model of their pixels uses (Sandoval-Segura et al., 2023).

    A linear model without bias is fitted to the protected pixels, one output for each class of each task. With the columns
    of Q an orthonormal basis of all its weights, an image x becomes x - Q Q^T x. As in the paper nothing is clamped: the result
    may leave [0, 1]. Tasks whose labels are maps take no part in the fit, but may be trained on the projected images.

    Args:
        epochs: Passes over the data set in the fit; the paper takes 20.
        batch_size: Images in a step of the fit.
        image_size: Height and width to resize images to, those of the training; None where all have one size.
        device: Where to fit; CUDA, MPS or CPU by default, in that order.

    Attributes:
        weights: The fitted weights (outputs, C * H * W), or None before `Defense.prepare`.
        basis: Orthonormal rows (rank, C * H * W) that span the weights, Q^T, or None before `Defense.prepare`.

    Raises:
        TypeError: ``epochs`` or ``batch_size`` is no integer, or ``device`` no device.
        ValueError: an argument is out of range, or there is no such device.

    Example:
        >>> import torch, mtlue
        >>> from mtlue.defenses import OrthogonalProjection
        >>> data = [(torch.rand(1, 4, 4), index % 2) for index in range(8)]
        >>> defense = OrthogonalProjection(epochs=2)
        >>> defense.prepare(data, {"young": mtlue.Classification(2)}, seed=0)
        >>> projected = defense.images(torch.stack([image for image, _ in data]))
        >>> bool((projected.flatten(1) @ defense.weights.T).abs().max() < 1e-5)
        True
    """

    def __init__(
        self,
        *,
        epochs: int = 20,
        batch_size: int = 128,
        image_size: tuple[int, int] | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.epochs = check_count("epochs", epochs, minimum=1)
        self.batch_size = check_count("batch_size", batch_size, minimum=1)
        self.image_size = check_image_size(image_size)
        self.device = device if device is None else choose_device(device, None)
        self.weights: Tensor | None = None
        self.basis: Tensor | None = None
        self._shape: tuple[int, ...] = ()

    def check_tasks(self, tasks: Mapping[str, Task]) -> None:
        """Refuse tasks that the linear model could not be fitted to.

        Raises:
            ValueError: the labels of all tasks are maps.
        """
        if all(task.is_map for task in tasks.values()):
            raise ValueError(
                f"defense: OrthogonalProjection fits labels of the whole image, and the labels of {list(tasks)} are all maps"
            )

    def prepare(self, dataset: Dataset[Any], tasks: Mapping[str, Task], *, seed: int) -> None:
        """Fit the linear model to the protected images.

        Raises:
            TypeError: the data set has no length, or cannot be indexed.
            ValueError: the data set is empty or has images of several sizes, or no task has labels of the whole image.
        """
        self.check_tasks(tasks)
        samples = CheckedSamples(check_samples("dataset", dataset), tasks, size=self.image_size, argument="dataset")
        first = samples[0][0]
        self._shape = tuple(first.shape) if self.image_size is None else (len(first), *self.image_size)
        self.weights = fit_linear_model(
            samples,
            pixels=math.prod(self._shape),
            epochs=self.epochs,
            batch_size=self.batch_size,
            device=choose_device(self.device, None),
            seed=seed,
        )
        # Not QR: rows may depend on one another, as those of a softmax do, which sum to zero, and QR would fill the basis up
        # with directions that mean nothing. Rounding leaves less than this share of the largest value where there is none.
        _, values, rows = torch.linalg.svd(self.weights, full_matrices=False)
        self.basis = rows[values > 1e-5 * values[0]]

    def images(self, images: Tensor) -> Tensor:
        """The projected images, (B, C, H, W), not clamped.

        Raises:
            RuntimeError: nothing was fitted yet.
            ValueError: the images have another shape than those of the fit.
        """
        if self.basis is None:
            raise RuntimeError(
                "defense: OrthogonalProjection has nothing to project out before prepare(dataset, tasks, seed=...)"
            )
        if tuple(images.shape[1:]) != self._shape:
            raise ValueError(f"images: expected shape (B, {', '.join(map(str, self._shape))}), got {tuple(images.shape)}")
        self.basis = self.basis.to(images.device)
        # In bfloat16 much of the weights would stay in the images.
        with torch.autocast(images.device.type, enabled=False):
            flat = images.float().flatten(1)
            return (flat - (flat @ self.basis.T) @ self.basis).reshape(images.shape)

    def __repr__(self) -> str:
        """The call that makes it."""
        return f"OrthogonalProjection(epochs={self.epochs}, batch_size={self.batch_size})"
