"""From protected batches to images that are kept."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

from torch import Tensor

from mtlue._data import Samples, labels_digest
from mtlue._protect.storage import Images, MemoryImages, StoredImages, StoreWriter
from mtlue._protect.work_folder import WorkFolder
from mtlue._tasks import tasks_to_config

logger = logging.getLogger("mtlue.protect")

#: ``batches(start, batch_size)``: protected images, uint8 (C, H, W) each, from a sample on, in order.
Batches: TypeAlias = Callable[[int, int], Iterable[Sequence[Tensor]]]


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
    """Keep protected images in memory, or stream them to a folder, going on after the last batch that is noted there.

    Args:
        batches: Makes them.
        samples: The data set.
        shape: Shape of all images, or None when they differ.
        epsilon: The budget.
        batch_size: Samples a batch; a call that is taken up again keeps its own, since another could round differently.
        folders: Where to stream to; None keeps the images in memory.
        before_finish: Called when all images are written to the folder and the store is not yet finished.

    Raises:
        RuntimeError: the batches ended before the last sample.
    """
    if folders is None:
        images = MemoryImages(len(samples), shape)
        for batch in batches(0, batch_size):
            images.append(batch)
        return images
    writer = StoreWriter(folders.work, shape)
    try:
        writer.batch_size = writer.batch_size or batch_size
        if writer.count:
            logger.info("protect: going on after %d of %d images, in %s", writer.count, len(samples), folders.work)
        else:
            logger.info("protect: streaming %d images to %s", len(samples), folders.work)
        for batch in batches(writer.count, writer.batch_size):
            writer.append(batch)
        if writer.count != len(samples):
            raise RuntimeError(f"{writer.count} images were made of {len(samples)}")
        manifest = {
            "epsilon": epsilon,
            "tasks": tasks_to_config(samples.tasks),
            "labels": labels_digest(samples.dataset, samples.tasks),
        }
        if before_finish is not None:
            before_finish()
        writer.finish(manifest, folders.final)
        logger.info("protect: finished %s, %d images", folders.final, len(samples))
    finally:
        writer.close()
    return StoredImages(folders.final)
