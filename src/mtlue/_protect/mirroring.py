"""The augmentation through which networks see images during training."""

from __future__ import annotations

import logging
from dataclasses import replace

from mtlue._check import changed_by_mirroring
from mtlue._data import Inspection, Samples, Transform, random_crop, random_crop_and_flip
from mtlue._protect.checking import FEWEST_SAMPLES, clean_batch, plan_for, split_for
from mtlue._runtime import Compute, repeatable_convolutions

logger = logging.getLogger("mtlue.protect")


def augmentation_for(samples: Samples, inspection: Inspection, compute: Compute) -> Transform | None:
    """Return random shifts, and random mirroring if a mirror image has the same labels. A victim may train with these.

    If mirroring changed the labels, networks would learn nothing useful from mirrored images, and the generator would protect
    far worse. Returns None if labels are maps, which would have to move along.

    Args:
        samples: The data set.
        inspection: What reading the data set found.
        compute: Where and how to compute.
    """
    if samples.has_maps:
        return None
    if inspection.length < FEWEST_SAMPLES:
        return random_crop
    plan, size = plan_for(inspection, samples, inspection.typical_size, views=None)
    train, test = split_for(inspection.length, plan, compute)
    quiet = replace(compute, progress=False)
    with repeatable_convolutions():
        changed = changed_by_mirroring(
            clean_batch(samples, train, size, quiet), clean_batch(samples, test, size, quiet), samples.tasks, plan, quiet
        )
    if changed is None:
        logger.info("protect: images are not mirrored; a small network cannot tell whether that keeps their labels")
    elif changed:
        logger.info("protect: images are not mirrored; it would change the labels of %s", ", ".join(map(repr, changed)))
    return random_crop if changed is None or changed else random_crop_and_flip
