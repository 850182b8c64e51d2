"""The control: the same budget without a method."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtlue._checks import check_epsilon, check_seed
from mtlue._data import Samples, check_map_style, check_unprotected, infer_and_inspect, inspect_dataset
from mtlue._protect import ProtectedDataset, WorkFolder, largest_level
from mtlue._runtime import Stream, check_single_process, derived_seed, warn
from mtlue._tasks import Tasks, resolve_tasks
from mtlue.baselines._assemble import assemble


def random_noise(
    dataset: Dataset[Any],
    *,
    tasks: Tasks | None = None,
    epsilon: float = 8 / 255,
    path: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> ProtectedDataset[Tensor]:
    """Move each pixel by the whole budget up or down, at random: the control that any method has to beat.

    The noise of a sample depends only on the seed and its index, so it says nothing about its labels.

    Args:
        dataset: Map-style set of pairs (image, targets), as `mtlue.protect` takes it. Images may differ in size.
        tasks: Tasks by name. An integer n means ``Classification(n)``. If None, the data set's own ``tasks``, or else inferred
            from the labels.
        epsilon: Budget on the scale of [0, 1]. A pixel moves by floor(255 * epsilon) levels, or less if it meets 0 or 255.
        path: Folder to stream the images to, as in `mtlue.protect`; None keeps them in memory, as bytes.
        seed: Equal seeds give equal bytes.

    Returns:
        The set with noise.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or the data set has faults.
        FileExistsError: ``path`` already exists.
        BlockingIOError: another call is writing to ``path``.
        NotImplementedError: called inside a process group of several ranks.

    Example:
        >>> import torch
        >>> from mtlue import baselines
        >>> dataset = [(torch.full((1, 2, 4), 100, dtype=torch.uint8), {"shoe": i % 2}) for i in range(4)]
        >>> noisy = baselines.random_noise(dataset, tasks={"shoe": 2})
        >>> sorted(set((noisy[0][0] * 255).round().flatten().tolist()))
        [92.0, 108.0]
    """
    check_unprotected("dataset", check_map_style("dataset", dataset))
    check_epsilon("epsilon", epsilon)
    check_seed("seed", seed)
    check_single_process()
    resolved, inspection = infer_and_inspect(dataset) if tasks is None else (resolve_tasks(tasks), None)
    limit = largest_level(epsilon)
    if not limit:
        warn(f"epsilon: {epsilon:.4g} is less than one level of 1/255: no pixel changes")
    with WorkFolder.claim(path) as folders:
        inspection = inspection or inspect_dataset(dataset, resolved)

        def change(images: Sequence[Tensor], targets: Sequence[Any], indices: Sequence[int]) -> list[Tensor]:
            return [_signs(image.shape, seed, index) * limit for image, index in zip(images, indices, strict=True)]

        settings = {"baseline": "random_noise", "epsilon": epsilon, "seed": seed}
        return assemble(Samples(dataset, resolved), inspection, change, epsilon=epsilon, folders=folders, settings=settings)


def _signs(shape: torch.Size, seed: int, index: int) -> Tensor:
    """Draw +1 or -1 for each pixel of a sample, int16."""
    random = torch.Generator().manual_seed(derived_seed(seed, Stream.NOISE, index))
    return 2 * torch.randint(2, shape, generator=random, dtype=torch.int16) - 1
