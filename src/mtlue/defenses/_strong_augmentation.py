"""Strong augmentation."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from mtlue._checks import check_fraction, check_number
from mtlue._tasks import Task
from mtlue.defenses._blur import gaussian_blur
from mtlue.defenses._check_images import check_images
from mtlue.defenses._cutout import cutout
from mtlue.defenses._defense import Defense
from mtlue.defenses._trivial_augment import trivial_augment


class StrongAugmentation(Defense):
    """Change each training image so much that a faint pattern on it may not survive.

    Each image gets one random operation at a random strength (TrivialAugment, Müller and Hutter, 2021), a Gaussian blur of
    random width, and a hidden square (cutout, DeVries and Taylor, 2017). TrivialAugment moves pixels: labels have to be of
    the whole image.

    Args:
        blur: The largest standard deviation of the blur in pixels; that of an image is drawn uniformly from 0 on.
        cutout: Side of the hidden square as a share of the image's shorter side, in [0, 1].

    Raises:
        TypeError: an argument is no number.
        ValueError: an argument is out of range.

    Example:
        >>> import torch
        >>> from mtlue.defenses import StrongAugmentation
        >>> StrongAugmentation(blur=1.0).images(torch.rand(4, 3, 16, 16)).shape
        torch.Size([4, 3, 16, 16])
    """

    def __init__(self, *, blur: float = 1.0, cutout: float = 0.5) -> None:
        self.blur = check_number("blur", blur)
        try:
            self.cutout = check_fraction(cutout)
        except (TypeError, ValueError) as error:
            raise type(error)(str(error).replace("fraction", "cutout", 1)) from None

    def check_tasks(self, tasks: Mapping[str, Task]) -> None:
        """Refuse tasks whose labels would have to move with the pixels.

        Raises:
            ValueError: the labels of a task are maps.
        """
        maps = [name for name, task in tasks.items() if task.is_map]
        if maps:
            raise ValueError(
                f"defense: StrongAugmentation moves pixels, and the labels of {maps} are maps that would stay where they are; "
                "Mixup and UEraser leave pixels in their places"
            )

    def images(self, images: Tensor) -> Tensor:
        """Augmented images in [0, 1], (B, C, H, W), with one channel or three.

        Raises:
            TypeError: the images are no floats.
            ValueError: the images have another shape or range.
        """
        check_images(images, channels=(1, 3))
        if not len(images):
            return images
        changed = trivial_augment(images)
        changed = gaussian_blur(changed, self.blur * torch.rand(len(changed))).clamp(0.0, 1.0)
        return cutout(changed, share=self.cutout)

    def __repr__(self) -> str:
        """The call that makes it."""
        return f"StrongAugmentation(blur={self.blur:g}, cutout={self.cutout:g})"
