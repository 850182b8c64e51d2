"""Some images of an audited set, for the pages of a report."""

from __future__ import annotations

import math
from collections.abc import Sized
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtlue._data import check_images, read_image, to_bytes, to_unit_floats
from mtlue._protect import ProtectedDataset
from mtlue._runtime import require

_SHOWN = 4
# A larger image is cropped to its middle. Scaling it down would change the perturbation.
_LARGEST_SIDE = 224
# Side of SSIM's window, in pixels.
_WINDOW = 11


@dataclass(frozen=True, eq=False)
class Example:
    """One image, clean and protected.

    Attributes:
        index: Index of the sample.
        clean: The clean image, uint8 (C, H, W). Only the middle of a large image.
        protected: The same part of the protected image.
        psnr: Peak signal-to-noise ratio of the whole image in dB; infinite if nothing was changed.
        ssim: Structural similarity of the whole image; NaN if a side is shorter than 11 pixels.

    Example:
        >>> import torch
        >>> from mtlue import baselines, evaluation
        >>> clean = [(torch.rand(3, 16, 16), label) for label in (0, 1)]
        >>> test = [(torch.rand(3, 16, 16), label) for label in (0, 1)]
        >>> noisy = baselines.random_noise(clean, tasks={"gender": 2})
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 2))
        >>> report = evaluation.audit(noisy, clean, test, model=net, epochs=1, progress=False)
        >>> [example.index for example in report.examples]
        [0, 1]
        >>> round(report.examples[0].psnr)
        30
    """

    index: int
    clean: Tensor
    protected: Tensor
    psnr: float
    ssim: float

    def __repr__(self) -> str:
        """Return the index and the two measures."""
        return f"Example(image {self.index}, {tuple(self.clean.shape)}, psnr={self.psnr:.4g}, ssim={self.ssim:.4g})"


def find_examples(clean: Dataset[Any], protected: Dataset[Any], count: int = _SHOWN) -> list[Example]:
    """Choose samples spread over a set. Returns none if images have neither 1 nor 3 channels, which cannot be shown."""
    length = len(cast("Sized", clean))
    # Random augmentation would be mistaken for the perturbation.
    protected = protected.with_transform(None) if isinstance(protected, ProtectedDataset) else protected
    examples = []
    for index in sorted({round(step * (length - 1) / max(1, count - 1)) for step in range(count)}):
        before, after = (to_bytes(read_image(dataset[index][0])) for dataset in (clean, protected))
        if before.shape == after.shape and len(before) in (1, 3):
            quality = image_quality(to_unit_floats(before), to_unit_floats(after))
            examples.append(Example(index, _middle(before), _middle(after), quality["psnr"], quality["ssim"]))
    return examples


def image_quality(clean: Tensor, protected: Tensor) -> dict[str, float]:
    """Measure how closely a protected image resembles the clean one: PSNR in dB and SSIM, as ``"psnr"`` and ``"ssim"``.

    Args:
        clean: Image (C, H, W) in [0, 1].
        protected: The protected image, of the same shape.

    Returns:
        Both measures by name. PSNR is infinite for equal images. SSIM has a window of 11 pixels: it is NaN if a side is
        shorter.

    Raises:
        TypeError: an image is not a tensor of floats.
        ValueError: the shapes differ, or a value is outside [0, 1].
        ImportError: torchmetrics is not installed.

    Example:
        >>> import torch
        >>> from mtlue import evaluation
        >>> grey = torch.full((3, 16, 16), 0.5)
        >>> found = evaluation.image_quality(grey, grey + 0.1)
        >>> round(found["psnr"], 2), round(found["ssim"], 2)
        (20.0, 0.98)
    """
    for name, image in (("clean", clean), ("protected", protected)):
        check_images(name, image.unsqueeze(0) if isinstance(image, Tensor) else image)
    if clean.shape != protected.shape:
        raise ValueError(f"protected: expected the shape {tuple(clean.shape)} of the clean image, got {tuple(protected.shape)}")
    metrics = require("torchmetrics.functional.image", extra="evaluation")
    before, after = clean.unsqueeze(0).float(), protected.unsqueeze(0).float()
    same = torch.equal(before, after)
    psnr = math.inf if same else float(metrics.peak_signal_noise_ratio(after, before, data_range=1.0))
    small = min(before.shape[-2:]) < _WINDOW
    ssim = math.nan if small else float(metrics.structural_similarity_index_measure(after, before, data_range=1.0))
    return {"psnr": psnr, "ssim": ssim}


def _middle(image: Tensor) -> Tensor:
    height, width = (min(side, _LARGEST_SIDE) for side in image.shape[-2:])
    top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
    return image[:, top : top + height, left : left + width].clone()
