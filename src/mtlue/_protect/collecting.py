"""Keep protected images in memory or in a folder."""

from __future__ import annotations

from mtlue._data import Samples, labels_digest
from mtlue._formats import ImageSink, MemoryImages, StoreWriter, WorkFolder
from mtlue._tasks import tasks_to_config


def open_sink(
    samples: Samples, *, shape: tuple[int, int, int] | None, epsilon: float, batch_size: int, folders: WorkFolder | None
) -> ImageSink:
    """Open a place for protected images: memory, or a folder, where writing resumes after the last noted batch.

    Args:
        samples: The data set.
        shape: Shape of all images, or None if they differ.
        epsilon: The budget.
        batch_size: Samples in a batch. A resumed call keeps its own, because another size could round differently.
        folders: The folders to stream to. None keeps the images in memory.
    """
    if folders is None:
        return MemoryImages(len(samples), shape=shape, batch_size=batch_size)
    manifest = {
        "epsilon": epsilon,
        "tasks": tasks_to_config(samples.tasks),
        "labels": labels_digest(samples.dataset, samples.tasks),
    }
    return StoreWriter(folders, length=len(samples), shape=shape, batch_size=batch_size, manifest=manifest)
