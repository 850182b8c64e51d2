"""From changes in whole levels to a protected set, in memory or in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from torch import Tensor

from mtlue._data import Inspection, Samples, run_settings, to_bytes
from mtlue._protect import ProtectedDataset, WorkFolder, add_levels, open_sink

#: ``change(images, targets, indices)``: by how many levels of 1/255 each pixel of some samples is to change, int16 (C, H, W) a
#: sample. The images are uint8 (C, H, W), the targets as the data set gives them, the indices those of the samples.
Change: TypeAlias = Callable[[Sequence[Tensor], Sequence[Any], range], Sequence[Tensor]]

# A sample does not depend on the others of its batch; this many of them are in memory at once.
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
    """Change every image, keep the results as bytes, and return them as a protected set.

    Args:
        samples: The data set.
        inspection: What is known of it.
        change: Gives the changes; what it returns for a sample must not depend on the batch.
        epsilon: Budget on the scale of [0, 1]; a change beyond it is cut to it.
        folders: Where to stream to, and to go on if an earlier call was interrupted; None keeps the images in memory.
        settings: What the changes depend on, as JSON can hold it: a call that is taken up again must have the same.

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
    images = sink.fill(_changed(samples, change, epsilon, sink.count, sink.batch_size))
    return ProtectedDataset[Tensor](images, samples.dataset, tasks=samples.tasks, epsilon=epsilon)


def _changed(samples: Samples, change: Change, epsilon: float, start: int, batch_size: int) -> Iterator[list[Tensor]]:
    for first in range(start, len(samples), batch_size):
        indices = range(first, min(first + batch_size, len(samples)))
        read = [samples[index] for index in indices]
        images = [to_bytes(image) for image, _ in read]
        levels = change(images, [targets for _, targets in read], indices)
        yield [add_levels(image, level, epsilon) for image, level in zip(images, levels, strict=True)]
