"""The budget of random noise that makes a fair control."""

from __future__ import annotations

import math
from collections.abc import Sized
from typing import Any, cast

import torch
from torch.utils.data import Dataset

from mtlue._data import read_image, to_unit_floats
from mtlue._protect import ProtectedDataset

_LOOKED_AT = 256
_PEAKED = 2.0


def noise_budget(protected: Dataset[Any], clean: Dataset[Any], epsilon: float) -> float:
    """Return the budget, on the scale of [0, 1], of noise that changes every pixel by the whole budget.

    Args:
        protected: The protected set.
        clean: The same samples without protection.
        epsilon: Largest change of a pixel.

    Returns:
        ``epsilon``, or the root mean square change of the changed images, in whole levels, if ``epsilon`` is more than twice
        that. Such a set is bounded in another norm than the largest change.

    Raises:
        ValueError: a protected image differs from its clean image by more than ``epsilon``. The two sets do not belong
            together.
    """
    if isinstance(protected, ProtectedDataset):
        # Augmentation would be mistaken for the perturbation.
        protected = protected.with_transform(None)
    length = len(cast("Sized", clean))
    squares = []
    for index in range(0, length, max(1, length // _LOOKED_AT)):
        before, after = (to_unit_floats(read_image(dataset[index][0])) for dataset in (clean, protected))
        if before.shape == after.shape and not torch.allclose(before, after, atol=0.5 / 255):
            if float((after - before).abs().max()) > epsilon + 1 / 255:
                raise ValueError(
                    f"clean: image {index} differs from the protected one by more than epsilon = {255 * epsilon:.3g}/255; "
                    "expected the same samples in the same order, without augmentation"
                )
            squares.append(float((after - before).square().mean()))
    if not squares:
        return epsilon
    typical = math.sqrt(sum(squares) / len(squares))
    return epsilon if epsilon <= _PEAKED * typical else max(1, round(255 * typical)) / 255
