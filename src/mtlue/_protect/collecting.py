"""From protected batches to images that are kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from torch import Tensor

from mtlue._data import Samples, labels_digest
from mtlue._formats import Images, ImageSink, MemoryImages, StoreWriter
from mtlue._protect.work_folder import WorkFolder
from mtlue._tasks import tasks_to_config

#: ``batches(start, batch_size)``: protected images, uint8 (C, H, W) each, from a sample on, in order.
Batches: TypeAlias = Callable[[int, int], Iterable[Sequence[Tensor]]]


def open_sink(
    samples: Samples, *, shape: tuple[int, int, int] | None, epsilon: float, batch_size: int, folders: WorkFolder | None
) -> ImageSink:
    """What keeps protected images in memory, or streams them to a folder, going on after the last batch that is noted there.

    Args:
        samples: The data set.
        shape: Shape of all images, or None when they differ.
        epsilon: The budget.
        batch_size: Samples a batch; a call that is taken up again keeps its own, since another could round differently.
        folders: Where to stream to; None keeps the images in memory.
    """
    if folders is None:
        return MemoryImages(len(samples), shape=shape, batch_size=batch_size)
    manifest = {
        "epsilon": epsilon,
        "tasks": tasks_to_config(samples.tasks),
        "labels": labels_digest(samples.dataset, samples.tasks),
    }
    return StoreWriter(folders.work, folders.final, length=len(samples), shape=shape, batch_size=batch_size, manifest=manifest)


def collect_images(
    batches: Batches,
    samples: Samples,
    *,
    shape: tuple[int, int, int] | None,
    epsilon: float,
    batch_size: int,
    folders: WorkFolder | None,
    before_finish: Callable[[], object] | None = None,
) -> Images:
    """Keep all images that ``batches`` makes; the other arguments are those of `open_sink` and of `ImageSink.fill`."""
    sink = open_sink(samples, shape=shape, epsilon=epsilon, batch_size=batch_size, folders=folders)
    return sink.fill(batches(sink.count, sink.batch_size), before_finish=before_finish)
