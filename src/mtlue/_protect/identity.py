"""Telling whether a store belongs to a data set, without keeping anything of the clean images."""

from __future__ import annotations

from collections.abc import Mapping, Sized
from typing import Any, cast

import torch
from torch.utils.data import Dataset

from mtlue._data.fingerprint import image_bytes, labels_digest, looked_at
from mtlue._protect.rounding import largest_level
from mtlue._protect.storage import StoredImages
from mtlue._tasks import Task


def check_same_data(images: StoredImages, dataset: Dataset[Any], tasks: Mapping[str, Task]) -> None:
    """Check that a store was made from this data set: its images lie within epsilon of the clean ones.

    Raises:
        TypeError: an image or a label of the data set cannot be read.
        ValueError: the store was made from another data set, or a sample cannot be read.
    """
    length = len(cast("Sized", dataset))
    if len(images) != length:
        raise ValueError(f"dataset: the store was made from another data set, of {len(images)} samples; this one has {length}")
    limit = largest_level(images.manifest["epsilon"])
    for index in looked_at(length):
        clean, stored = image_bytes(dataset, index), images[index]
        same_shape = clean.shape == stored.shape
        if not same_shape or (clean.to(torch.int16) - stored.to(torch.int16)).abs().max() > limit:
            raise ValueError(f"dataset: the store was made from another data set, image {index} is not the same")
    if labels_digest(dataset, tasks) != images.manifest["labels"]:
        raise ValueError("dataset: the store was made from another data set, the labels are not the same")
