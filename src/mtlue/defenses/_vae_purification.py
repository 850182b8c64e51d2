"""Purify images with a variational autoencoder that has seen only the protected set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtlue._checks import check_count, check_image_size, check_number
from mtlue._data import Batch, check_map_style, shuffled_batches
from mtlue._fit import one_cycle
from mtlue._runtime import Compute, Stream, choose_device, descend
from mtlue._tasks import Task
from mtlue.defenses._bottleneck import Bottleneck
from mtlue.defenses._clean_set import CheckedSamples
from mtlue.defenses._defense import Defense

_LEARNING_RATE = 3e-3


class VAEPurification(Defense):
    """Rebuild the training images from a code that is too short for the perturbation (after Yu et al., 2024).

    Two small variational autoencoders learn from the protected set, without clean images. Passing information through the
    bottleneck costs as much as missing it in a rebuilt image, so the code keeps what explains most of the image. A second
    decoder of the first autoencoder explains the rest from the code and the labels, and so finds what the images of a class
    share. This is subtracted before the second autoencoder learns to rebuild what remains. The idea is D-VAE's; the networks
    are smaller here, and the rate is weighed instead of bounded.

    Args:
        distortion: What a rebuilt pixel may miss, as a standard deviation on the scale of [0, 1]. The larger it is, the less
            remains of the image and of the perturbation.
        epochs: Passes over the data set, for each autoencoder.
        width: Channels of the first convolution.
        batch_size: Images in a step.
        image_size: Height and width to resize images to, as in the training. None if all have one size.
        device: Where to train. By default CUDA, MPS or the CPU, in that order.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or the device does not exist.

    Example:
        >>> import torch, mtlue
        >>> from mtlue.defenses import VAEPurification
        >>> data = [(torch.rand(1, 8, 8), index % 2) for index in range(8)]
        >>> defense = VAEPurification(epochs=2, width=4)
        >>> defense.prepare(data, {"young": mtlue.Classification(2)}, seed=0)
        >>> defense.images(torch.rand(3, 1, 8, 8)).shape
        torch.Size([3, 1, 8, 8])
    """

    def __init__(
        self,
        *,
        distortion: float = 0.05,
        epochs: int = 8,
        width: int = 16,
        batch_size: int = 64,
        image_size: tuple[int, int] | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.distortion = check_number("distortion", distortion, above=0)
        self.epochs = check_count("epochs", epochs, minimum=1)
        self.width = check_count("width", width, minimum=1)
        self.batch_size = check_count("batch_size", batch_size, minimum=1)
        self.image_size = check_image_size(image_size)
        self.device = device if device is None else choose_device(device, None)
        self._model: Bottleneck | None = None
        self._shape: tuple[int, ...] = ()

    def prepare(self, dataset: Dataset[Any], tasks: Mapping[str, Task], *, seed: int) -> None:
        """Train both autoencoders on the protected images.

        Raises:
            TypeError: the data set has no length, or cannot be indexed.
            ValueError: the data set is empty or has images of several sizes.
        """
        samples = CheckedSamples(check_map_style("dataset", dataset), tasks, size=self.image_size, argument="dataset")
        first = samples[0][0]
        self._shape = tuple(first.shape) if self.image_size is None else (len(first), *self.image_size)
        compute = Compute(choose_device(self.device, None), seed=seed)
        with compute.random_numbers(Stream.DEFENSE):
            rough = self._fit(samples, compute, stage=0, clear=lambda batch: batch.images)
            self._model = self._fit(samples, compute, stage=1, clear=rough.cleared)

    def images(self, images: Tensor) -> Tensor:
        """Return the rebuilt images, (B, C, H, W), in [0, 1].

        Raises:
            RuntimeError: nothing is trained yet.
            ValueError: the images have another shape than those of the training.
        """
        if self._model is None:
            raise RuntimeError("defense: VAEPurification has no autoencoder before prepare(dataset, tasks, seed=...)")
        if tuple(images.shape[1:]) != self._shape:
            raise ValueError(f"images: expected shape (B, {', '.join(map(str, self._shape))}), got {tuple(images.shape)}")
        with torch.no_grad():
            rebuilt: Tensor = self._model.to(images.device)(images.float())
        return rebuilt.clamp(0.0, 1.0).to(images.dtype)

    def _fit(self, samples: CheckedSamples, compute: Compute, *, stage: int, clear: Callable[[Batch], Tensor]) -> Bottleneck:
        channels, height, width = self._shape
        model = Bottleneck(dict(samples.tasks), channels, (height, width), width=self.width).to(compute.device)
        optimizer = torch.optim.Adam(model.parameters(), lr=_LEARNING_RATE)
        steps, step = self.epochs * -(-len(samples) // self.batch_size), 0
        with torch.enable_grad():
            for epoch in range(self.epochs):
                seed = compute.seed_of(Stream.DEFENSE, stage, epoch)
                for batch in shuffled_batches(samples, batch_size=self.batch_size, compute=compute, seed=seed):
                    optimizer.param_groups[0]["lr"] = _LEARNING_RATE * one_cycle(step / steps)
                    # Batch normalisation may need more than a single image.
                    model.train(len(batch) > 1)
                    loss = model.loss(batch.images, clear(batch), batch.targets, distortion=self.distortion)
                    descend(optimizer, loss)
                    step += 1
        return model.eval()

    def __repr__(self) -> str:
        return f"VAEPurification(distortion={self.distortion:g}, epochs={self.epochs}, width={self.width})"
