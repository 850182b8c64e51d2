"""Strong augmentation."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms import v2

from mtlue._checks import check_number, check_share
from mtlue._data import check_images, to_bytes, to_unit_floats
from mtlue._tasks import Task
from mtlue.defenses._defense import Defense

_OPERATION = v2.TrivialAugmentWide()


class StrongAugmentation(Defense):
    """Change each training image strongly, so that a faint pattern on it may be lost.

    Each image gets one random operation at a random strength (TrivialAugment, Müller and Hutter, 2021), a Gaussian blur of
    random width, and a hidden square (cutout, DeVries and Taylor, 2017). TrivialAugment moves pixels, so all labels have to be
    of the whole image.

    Args:
        blur: The largest standard deviation of the blur, in pixels. Each image draws its own, uniformly from 0.
        cutout: Side of the hidden square as a share of the image's shorter side, in [0, 1].

    Raises:
        TypeError: an argument is not a number.
        ValueError: an argument is out of range.

    Example:
        >>> import torch
        >>> from mtlue.defenses import StrongAugmentation
        >>> StrongAugmentation(blur=1.0).images(torch.rand(4, 3, 16, 16)).shape
        torch.Size([4, 3, 16, 16])
    """

    def __init__(self, *, blur: float = 1.0, cutout: float = 0.5) -> None:
        self.blur = check_number("blur", blur)
        self.cutout = check_share("cutout", cutout)

    def check_tasks(self, tasks: Mapping[str, Task]) -> None:
        """Refuse tasks whose labels would have to move with the pixels.

        Raises:
            ValueError: the labels of a task are maps.
        """
        maps = [name for name, task in tasks.items() if task.is_map]
        if maps:
            raise ValueError(
                f"defense: StrongAugmentation moves pixels, and the labels of {maps} are maps that would stay where they are; "
                "use Mixup or UEraser, which leave pixels in place"
            )

    def images(self, images: Tensor) -> Tensor:
        """Return augmented images in [0, 1], (B, C, H, W), with one channel or three.

        Raises:
            TypeError: the images are not floats.
            ValueError: the images have another shape or range.
        """
        check_images("images", images, channels=(1, 3))
        if not len(images):
            return images
        changed = trivial_augment(images)
        changed = gaussian_blur(changed, self.blur * torch.rand(len(changed))).clamp(0.0, 1.0)
        return cutout(changed, share=self.cutout)

    def __repr__(self) -> str:
        return f"StrongAugmentation(blur={self.blur:g}, cutout={self.cutout:g})"


def trivial_augment(images: Tensor) -> Tensor:
    """Apply one operation of random strength to each image, (B, C, H, W) in [0, 1] with one channel or three.

    TrivialAugment (Müller and Hutter, 2021). Some of the operations move pixels.
    """
    # One at a time, because images that are passed together get the same operation.
    return to_unit_floats(torch.stack([_OPERATION(image) for image in to_bytes(images.clamp(0.0, 1.0))]))


def gaussian_blur(images: Tensor, sigmas: Tensor) -> Tensor:
    """Blur each image of (B, C, H, W) with its own standard deviation, in pixels, from ``sigmas`` (B,).

    The border is repeated outwards. A standard deviation of 0 leaves the image unchanged.
    """
    batch, channels, height, width = images.shape
    reach = math.ceil(3.0 * float(sigmas.max()))
    offsets = torch.arange(-reach, reach + 1, device=images.device, dtype=images.dtype)
    # The bound avoids 0 / 0: so narrow a bell is one at its centre and zero at all other pixels.
    weights = torch.exp(-0.5 * (offsets / sigmas.to(images).clamp_min(1e-2).unsqueeze(1)) ** 2)
    kernels = (weights / weights.sum(dim=1, keepdim=True)).repeat_interleave(channels, dim=0)
    # Each channel of each image is a group of one convolution, first along the columns, then along the rows.
    planes = images.reshape(1, batch * channels, height, width)
    for shape, padding in (
        ((-1, 1, 2 * reach + 1, 1), (0, 0, reach, reach)),
        ((-1, 1, 1, 2 * reach + 1), (reach, reach, 0, 0)),
    ):
        padded = F.pad(planes, padding, mode="replicate")
        planes = F.conv2d(padded, kernels.reshape(shape), groups=batch * channels)
    return planes.reshape(images.shape)


def cutout(images: Tensor, *, share: float) -> Tensor:
    """Hide a square of each image (B, C, H, W) under the image's mean colour (DeVries and Taylor, 2017).

    The side is a share of the image's shorter side. The centre lies anywhere in the image, so part of the square may lie
    outside.
    """
    batch, _, height, width = images.shape
    half = share * min(height, width) / 2
    inside = []
    for side in (height, width):
        centres = side * torch.rand(batch, 1, device=images.device)
        pixels = torch.arange(side, device=images.device) + 0.5
        inside.append((pixels - centres).abs() < half)
    rows, columns = inside
    hidden = rows[:, None, :, None] & columns[:, None, None, :]
    return torch.where(hidden, images.mean(dim=(2, 3), keepdim=True), images)
