"""A user's data set: reading it, checking it, batching it."""

from mtlue._data.batches import Collate, Samples, ordered_batches, shuffled_batches
from mtlue._data.fingerprint import image_bytes, images_digest, labels_digest, looked_at
from mtlue._data.images import read_image, to_bytes, to_unit_floats
from mtlue._data.inspection import Inspection, check_map_style, inspect_dataset, item_problem
from mtlue._data.joint_transform import JointTransform, Transform, apply_transform, augmented, checked_transform

__all__ = [
    "Collate",
    "Inspection",
    "JointTransform",
    "Samples",
    "Transform",
    "apply_transform",
    "augmented",
    "check_map_style",
    "checked_transform",
    "image_bytes",
    "images_digest",
    "inspect_dataset",
    "item_problem",
    "labels_digest",
    "looked_at",
    "ordered_batches",
    "read_image",
    "shuffled_batches",
    "to_bytes",
    "to_unit_floats",
]
