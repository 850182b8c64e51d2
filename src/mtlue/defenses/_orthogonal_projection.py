"""Projection of what a linear model can use out of the images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtlue._checks import check_count, check_image_size
from mtlue._data import check_map_style, shuffled_batches
from mtlue._runtime import Compute, Stream, choose_device, descend
from mtlue._tasks import Task
from mtlue.defenses._clean_set import CheckedSamples
from mtlue.defenses._defense import Defense


class OrthogonalProjection(Defense):
    """Remove from the training images whatever a linear model of their pixels uses (Sandoval-Segura et al., 2023).

    A linear model without bias is fitted to the protected pixels, one output for each class of each task. With the columns of Q
    an orthonormal basis of all its weights, an image x becomes x - Q Q^T x. As in the paper nothing is clamped, so the result
    may leave [0, 1]. Tasks whose labels are maps do not take part in the fit, but can be trained on the projected images.

    Args:
        epochs: Passes over the data set in the fit; the paper takes 20.
        batch_size: Images in a step of the fit.
        image_size: Height and width to resize images to, as in the training; None if all have one size.
        device: Where to fit; CUDA, MPS or CPU by default, in that order.

    Attributes:
        weights: The fitted weights (outputs, C * H * W), or None before `Defense.prepare`.
        basis: Orthonormal rows (rank, C * H * W) that span the weights, Q^T, or None before `Defense.prepare`.

    Raises:
        TypeError: ``epochs`` or ``batch_size`` is not an integer, or ``device`` not a device.
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
        """Refuse tasks that the linear model cannot be fitted to.

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
        samples = CheckedSamples(check_map_style("dataset", dataset), tasks, size=self.image_size, argument="dataset")
        first = samples[0][0]
        self._shape = tuple(first.shape) if self.image_size is None else (len(first), *self.image_size)
        self.weights = fit_linear_model(
            samples,
            pixels=math.prod(self._shape),
            epochs=self.epochs,
            batch_size=self.batch_size,
            compute=Compute(choose_device(self.device, None), seed=seed),
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
        return f"OrthogonalProjection(epochs={self.epochs}, batch_size={self.batch_size})"


def fit_linear_model(samples: CheckedSamples, *, pixels: int, epochs: int, batch_size: int, compute: Compute) -> Tensor:
    """Weights (outputs, C * H * W) of a linear model without bias, for the tasks whose labels are of the whole image.

    With the tasks' own losses, for classes this is logistic regression. The data set is read once an epoch, a batch at a
    time, in an order that the seed decides. The weights start at zero and are fitted by gradient descent with momentum,
    whose learning rate falls linearly to zero.

    Long fits are not better ones: weights that fit to the end turn into the directions in which images vary the least, and
    more of the pattern stays in what is orthogonal to them.
    """
    tasks = {name: task for name, task in samples.tasks.items() if not task.is_map}
    widths = [task.output_channels for task in tasks.values()]
    weights = torch.zeros(sum(widths), pixels, device=compute.device, requires_grad=True)
    # The more pixels add up in an output, the further it moves with a step: so it moves equally far whatever the size.
    optimizer = torch.optim.SGD([weights], lr=30.0 / pixels, momentum=0.9)
    steps = epochs * -(-len(samples) // batch_size)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    with torch.enable_grad():
        for epoch in range(epochs):
            seed = compute.seed_of(Stream.DEFENSE, epoch)
            for batch in shuffled_batches(samples, batch_size=batch_size, compute=compute, seed=seed):
                outputs = (batch.images.flatten(1) @ weights.T).split(widths, dim=1)
                losses = [
                    task.loss(task.read_output(output), batch.targets[name])
                    for (name, task), output in zip(tasks.items(), outputs, strict=True)
                ]
                descend(optimizer, torch.stack(losses).sum())
                schedule.step()
    return weights.detach()
