"""Turn changes in whole levels into a protected set, in memory or in a folder."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor

from mtlue._data import Inspection, Samples, run_settings, to_bytes
from mtlue._formats import Portion
from mtlue._protect import ProtectedDataset, WorkFolder, add_levels, open_sink

#: ``change(images, targets, indices)`` returns by how many levels of 1/255 to change each pixel, int16 (C, H, W) for each
#: sample. Images are uint8 (C, H, W), targets are as the data set gives them, and indices say which samples they are.
Change: TypeAlias = Callable[[Sequence[Tensor], Sequence[Any], Sequence[int]], Sequence[Tensor]]

# Samples do not depend on others of their batch. This many are in memory at once.
_BATCH = 64


def assemble(
    samples: Samples,
    inspection: Inspection,
    change: Change,
    *,
    epsilon: float,
    folders: WorkFolder | None,
    settings: Mapping[str, Any],
) -> ProtectedDataset[Tensor]:
    """Change every image, and return the results, kept as bytes, as a protected set.

    Args:
        samples: The data set.
        inspection: What reading the data set found.
        change: Returns the changes. Its result for a sample must not depend on the batch.
        epsilon: Budget on the scale of [0, 1]. A larger change is cut off.
        folders: Folders to stream to, from which an interrupted call resumes. None keeps the images in memory.
        settings: What the changes depend on, in a form that JSON can hold. A resumed call must have the same settings.

    Raises:
        ValueError: the folder was left by a call with other settings.
    """
    if folders is not None:
        finished = folders.check_settings(run_settings(samples, settings))
        if finished is not None:
            return ProtectedDataset[Tensor](finished, samples.dataset, tasks=samples.tasks, epsilon=epsilon)
    sink = open_sink(
        samples,
        shape=inspection.image_shape if inspection.uniform else None,
        epsilon=epsilon,
        batch_size=_BATCH,
        folders=folders,
    )
    images = sink.fill(lambda portion: _changed(samples, change, epsilon, portion, sink.batch_size))
    return ProtectedDataset[Tensor](images, samples.dataset, tasks=samples.tasks, epsilon=epsilon)


def _changed(
    samples: Samples, change: Change, epsilon: float, portion: Portion, batch_size: int
) -> Generator[list[Tensor], None, None]:
    while indices := list(itertools.islice(portion.indices, batch_size)):
        read = [samples[index] for index in indices]
        images = [to_bytes(image) for image, _ in read]
        levels = change(images, [targets for _, targets in read], indices)
        yield [add_levels(image, level, epsilon) for image, level in zip(images, levels, strict=True)]
