"""Pictures of perturbations (figures 6 and 9 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtlue._data import check_map_style, read_image, to_bytes, to_unit_floats
from mtlue._protect import ProtectedDataset
from mtlue.analysis._figures import Figure, PathArgument, check_pictures, finished, picture_grid

_SHOWN = 6


def plot_perturbations(
    clean: Dataset[Any],
    protected: ProtectedDataset[Any] | Mapping[str, ProtectedDataset[Any]],
    path: PathArgument = None,
    *,
    indices: Sequence[int] | None = None,
) -> Figure:
    """Plot clean images, and below them the perturbations and protected images of each method (figures 6 and 9).

    As in the paper's figures, each perturbation is stretched to [0, 1] separately, with all its channels together. So the
    picture shows the structure of a perturbation, not its size. A perturbation of 0 is mid-grey.

    Args:
        clean: The data set that was protected.
        protected: The result of `mtlue.protect`, or a dict of several such sets by name of the method. Their transforms are not
            applied.
        path: File to write; its ending decides the format. None writes nothing.
        indices: Samples to show, one in each column. The first 6 if None.

    Returns:
        A figure with a row of clean images, and two rows for each method.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: there is nothing to show, an index is out of range, a set differs from the clean one in length or in the
            shape of an image, or an image has neither 1 nor 3 channels.
        ImportError: Matplotlib is not installed.

    Example:
        >>> import torch, mtlue
        >>> from mtlue import analysis
        >>> dataset = [(torch.rand(3, 8, 8), label) for label in (0, 1, 1)]
        >>> generator = mtlue.UEGenerator({"gender": 2}, (3, 8, 8), width=4)
        >>> generator.trained = True  # to keep this short; mtlue.fit trains it
        >>> protected = mtlue.protect(dataset, generator=generator, progress=False)
        >>> len(analysis.plot_perturbations(dataset, protected).axes)
        9
    """
    check_map_style("clean", clean)
    length = len(cast("Sized", clean))
    by_method = _check_protected(protected, length)
    chosen = _check_indices(range(min(_SHOWN, length)) if indices is None else indices, length)
    # In 8 bits, as stored. A perturbation is the difference from the stored clean image, without the effect of rounding.
    stored = [to_unit_floats(to_bytes(read_image(clean[index][0]))) for index in chosen]
    images = [check_pictures("clean", image.unsqueeze(0))[0] for image in stored]
    rows = [("clean", images)]
    for name, dataset in by_method.items():
        protected_images = [dataset[index][0] for index in chosen]
        for index, image, after in zip(chosen, images, protected_images, strict=True):
            if after.shape != image.shape:
                shapes = f"{tuple(after.shape)}, but the clean image has {tuple(image.shape)}"
                raise ValueError(f"protected: {name!r}: sample {index} has shape {shapes}; is it another data set?")
        perturbations = [stretched(after - image) for image, after in zip(images, protected_images, strict=True)]
        rows += [(f"{name}\nperturbation".lstrip(), perturbations), (f"{name}\nprotected".lstrip(), protected_images)]
    return finished(picture_grid(rows)[0], path)


def stretched(perturbation: Tensor) -> Tensor:
    """Stretch a perturbation so that its smallest entry is 0 and its largest 1. Equal entries become mid-grey."""
    low, high = perturbation.amin(), perturbation.amax()
    return torch.where(high > low, (perturbation - low) / (high - low), 0.5)


def _check_protected(protected: object, length: int) -> dict[str, ProtectedDataset[Any]]:
    by_method: dict[Any, Any] = dict(protected) if isinstance(protected, Mapping) else {"": protected}
    if not by_method:
        raise ValueError("protected: expected at least one data set, got an empty dict")
    for name, dataset in by_method.items():
        if not isinstance(dataset, ProtectedDataset):
            raise TypeError(f"protected: expected a ProtectedDataset or a dict of them by name, got {type(dataset).__name__}")
        if len(dataset) != length:
            raise ValueError(f"protected: {name!r} has {len(dataset)} samples, the clean data set {length}")
    return {str(name): dataset.with_transform(None) for name, dataset in by_method.items()}


def _check_indices(indices: Sequence[int], length: int) -> list[int]:
    if isinstance(indices, str) or not isinstance(indices, Sequence) or any(not isinstance(each, int) for each in indices):
        raise TypeError(f"indices: expected a list of integers, got {indices!r}")
    if not indices:
        raise ValueError("indices: expected at least one, got none")
    wrong = [index for index in indices if not 0 <= index < length]
    if wrong:
        raise ValueError(f"indices: expected integers from 0 to {length - 1}, got {wrong}")
    return list(indices)
