"""Read, check and batch a user's data set."""

from mtlue._data.augmentation import random_crop, random_crop_and_flip
from mtlue._data.batches import Batch, Samples, ordered_batches, shuffled_batches
from mtlue._data.differentiable_jpeg import check_quality, differentiable_jpeg
from mtlue._data.epochs import epochs_of
from mtlue._data.findings import Inspection
from mtlue._data.fingerprint import image_bytes, labels_digest, looked_at, run_settings, same_samples
from mtlue._data.images import check_images, image_problem, read_image, resize, to_bytes, to_unit_floats
from mtlue._data.inference import infer_and_inspect, infer_tasks
from mtlue._data.inspection import check_map_style, inspect_dataset
from mtlue._data.joint_transform import (
    JointTransform,
    Transform,
    apply_transform,
    augmented,
    augmented_alike,
    checked_transform,
)
from mtlue._data.reading import as_gathered, checked_image, checked_sample
from mtlue._data.streams import FIRST_SAMPLES, check_source, inspected
from mtlue._data.unprotected import check_unprotected
from mtlue._data.wrappers import collected, whole_set, wrapped

__all__ = [
    "FIRST_SAMPLES",
    "Batch",
    "Inspection",
    "JointTransform",
    "Samples",
    "Transform",
    "apply_transform",
    "as_gathered",
    "augmented",
    "augmented_alike",
    "check_images",
    "check_map_style",
    "check_quality",
    "check_source",
    "check_unprotected",
    "checked_image",
    "checked_sample",
    "checked_transform",
    "collected",
    "differentiable_jpeg",
    "epochs_of",
    "image_bytes",
    "image_problem",
    "infer_and_inspect",
    "infer_tasks",
    "inspect_dataset",
    "inspected",
    "labels_digest",
    "looked_at",
    "ordered_batches",
    "random_crop",
    "random_crop_and_flip",
    "read_image",
    "resize",
    "run_settings",
    "same_samples",
    "shuffled_batches",
    "to_bytes",
    "to_unit_floats",
    "whole_set",
    "wrapped",
]
