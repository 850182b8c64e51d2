"""What determines the result of a call. A data set is recognised by some samples spread over it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sized
from typing import Any, cast

from torch import Tensor
from torch.utils.data import Dataset

from mtlue._checks import naming
from mtlue._data.batches import Samples
from mtlue._data.images import to_bytes
from mtlue._data.reading import read_item, read_sample
from mtlue._runtime import checksum, tensors_digest
from mtlue._tasks import Task, read_single, split_by_task

_LOOKED_AT = 32


def looked_at(length: int) -> list[int]:
    """Return the indices of the samples to compare in a data set of this length, including the first."""
    return list(range(0, length, max(1, length // _LOOKED_AT)))


def labels_digest(dataset: Dataset[Any], tasks: Mapping[str, Task]) -> str:
    """Return a checksum of the labels of some samples.

    Raises:
        TypeError: a label has a type that cannot be read.
        ValueError: a sample is not a pair, or a label is not valid for its task.
    """
    digest = hashlib.sha256()
    for index in looked_at(len(cast("Sized", dataset))):
        for target in _labels(read_item(dataset, index)[1], index, tasks):
            digest.update(target.flatten().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _labels(targets: object, index: int, tasks: Mapping[str, Task]) -> list[Tensor]:
    with naming(f"dataset: sample {index}"):
        return [read_single(label, tasks[name]) for name, label in split_by_task(targets, tasks, what="targets").items()]


def same_samples(one: Dataset[Any], other: Dataset[Any], tasks: Mapping[str, Task]) -> bool:
    """Whether two data sets have the same images, in 8 bits, with the same labels; they are read until they differ.

    Args:
        one: A data set whose samples can be read.
        other: Another one.
        tasks: The tasks of both.
    """

    def digest(dataset: Dataset[Any], index: int) -> str:
        image, targets = read_sample(dataset, index)
        return tensors_digest([to_bytes(image), *_labels(targets, index, tasks)])

    lengths = {len(cast("Sized", dataset)) for dataset in (one, other)}
    return one is other or (len(lengths) == 1 and all(digest(one, index) == digest(other, index) for index in range(*lengths)))


def run_settings(samples: Samples, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return what determines the result of a call, for JSON. Only a call with equal settings may resume an interrupted one.

    Args:
        samples: The data set. Some samples are read.
        settings: Everything else that the result depends on.
    """
    labels = hashlib.sha256()

    def images() -> Iterator[Tensor]:
        for index in looked_at(len(samples)):
            image, targets = samples[index]
            for target in _labels(targets, index, samples.tasks):
                labels.update(target.flatten().contiguous().numpy().tobytes())
            yield to_bytes(image)

    return {
        "samples": len(samples),
        "images": checksum(tensors_digest(images())),
        "labels": checksum(labels.hexdigest()),
        **settings,
    }


def image_bytes(dataset: Dataset[Any], index: int) -> Tensor:
    """Return an image in 8 bits, uint8 (C, H, W).

    Raises:
        TypeError: it is not an image.
        ValueError: the sample is not a pair, or the image has the wrong shape.
    """
    return to_bytes(read_sample(dataset, index)[0])
