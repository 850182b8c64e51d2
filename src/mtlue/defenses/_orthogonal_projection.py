"""Project what a linear model can use out of the images."""

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

    A linear model without bias is fitted to the protected pixels, with one output for each class of each task. Let the columns
    of Q be an orthonormal basis of all its weights. An image x then becomes x - Q Q^T x. As in the paper, nothing is clamped,
    so the result may leave [0, 1]. Tasks whose labels are maps are left out of the fit, but can be trained on the projected
    images.

    Args:
        epochs: Passes over the data set in the fit; 20 in the paper.
        batch_size: Images in a step of the fit.
        image_size: Height and width to resize images to, as in the training; None if all have one size.
        device: Where to fit. By default CUDA, MPS or the CPU, in that order.

    Attributes:
        weights: The fitted weights (outputs, C * H * W), or None before `Defense.prepare`.
        basis: Orthonormal rows (rank, C * H * W) that span the weights, Q^T, or None before `Defense.prepare`.

    Raises:
        TypeError: ``epochs`` or ``batch_size`` is not an integer, or ``device`` not a device.
        ValueError: an argument is out of range, or the device does not exist.

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
        # Not QR: rows may depend on one another. Those of a softmax sum to zero, and QR would fill up the basis with
        # meaningless directions. For such directions rounding leaves less than this share of the largest value.
        _, values, rows = torch.linalg.svd(self.weights, full_matrices=False)
        self.basis = rows[values > 1e-5 * values[0]]

    def images(self, images: Tensor) -> Tensor:
        """Return the projected images, (B, C, H, W), not clamped.

        Raises:
            RuntimeError: nothing is fitted yet.
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
    """Fit a linear model without bias to the tasks with labels of the whole image. Returns its weights (outputs, C * H * W).

    The losses are the tasks' own; for classes this is logistic regression. Each epoch reads the data set once, batch by batch,
    in an order that the seed decides. The weights start at zero. They are fitted by gradient descent with momentum, and the
    learning rate falls linearly to zero.

    A longer fit is not better: converged weights turn into the directions in which images vary least, and more of the pattern
    stays orthogonal to them.
    """
    tasks = {name: task for name, task in samples.tasks.items() if not task.is_map}
    widths = [task.output_channels for task in tasks.values()]
    weights = torch.zeros(sum(widths), pixels, device=compute.device, requires_grad=True)
    # The more pixels an output sums, the further a step moves it. This factor makes steps equally long for all sizes.
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
