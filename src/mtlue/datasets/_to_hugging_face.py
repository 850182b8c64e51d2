"""A protected set as a data set of the Hugging Face library."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from mtlue._formats import PNG, class_names
from mtlue._protect import ProtectedDataset
from mtlue._runtime import require
from mtlue._tasks import Task, read_single, split_by_task
from mtlue.datasets._hugging_face import HuggingFace


def to_hugging_face(
    protected: ProtectedDataset[Any], *, image: str = "image", cache_dir: str | os.PathLike[str] | None = None
) -> Any:
    """Convert a protected set to a ``datasets.Dataset``, ready for ``save_to_disk`` and ``push_to_hub``.

    Images are encoded as PNG, so they stay within the budget and keep the perturbation. A transform is not applied.

    A set made from `mtlue.datasets.HuggingFace` gets the columns of the original in their order, with the images replaced.
    Columns of other images are left out, unless they are tasks, because they might show what was protected. Look through the
    others before you publish, for file names or features of the clean images. Any other set gets the image and one column a
    task: a ``ClassLabel``, with None where a label is missing, or nested lists for a label map.

    Args:
        protected: The result of `mtlue.protect`.
        image: Name of the column of images; a set made from `mtlue.datasets.HuggingFace` keeps its own.
        cache_dir: Folder that the rows are streamed to; None takes the library's cache.

    Returns:
        A ``datasets.Dataset``.

    Raises:
        ImportError: the library ``datasets`` is not installed.
        TypeError: ``protected`` is not a protected set.
        ValueError: PNG cannot hold the images, or ``image`` is the name of a task.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from mtlue import baselines
        >>> from mtlue.datasets import to_hugging_face
        >>> labels = [{"gender": i % 2, "race": i % 5} for i in range(10)]
        >>> dataset = [(torch.rand(3, 8, 8), label) for label in labels]
        >>> protected = baselines.random_noise(dataset)  # or mtlue.protect(dataset)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     rows = to_hugging_face(protected, cache_dir=folder)
        ...     print(rows.column_names, rows[7]["gender"], rows[7]["image"].size)
        ['image', 'gender', 'race'] 1 (8, 8)
        >>> # rows.push_to_hub("me/faces") publishes them.
    """
    library = require("datasets", extra="huggingface")
    if not isinstance(protected, ProtectedDataset):
        raise TypeError(f"protected: expected a mtlue.ProtectedDataset, got {type(protected).__name__}")
    channels, png = protected.stored_image(0).shape[0], PNG()
    if channels not in png.channels:
        raise ValueError(f"protected: PNG holds 1 or 3 channels, but the images have {channels}")
    source = protected.dataset
    if isinstance(source, HuggingFace):
        image = source.image
        features = _kept_features(library, source)
        rest = source.dataset.with_format(None).select_columns([name for name in features if name != image])
    else:
        if image in protected.tasks:
            raise ValueError(f"image: {image!r} is the name of a task")
        features = {image: library.Image(), **_task_features(library, protected)}
        rest = _Labels(source, protected.tasks)

    def rows() -> Iterator[dict[str, Any]]:
        for index in range(len(protected)):
            others = rest[index] if len(features) > 1 else {}
            yield {**others, image: {"bytes": png.encode(protected.stored_image(index)), "path": None}}

    return library.Dataset.from_generator(
        rows,
        features=library.Features(features),
        cache_dir=None if cache_dir is None else str(cache_dir),
        # Without a name, the library would pickle the whole set to find one.
        fingerprint=uuid.uuid4().hex,
    )


class _Labels:
    """Convert the labels of a user's data set to cells of a row."""

    def __init__(self, dataset: Any, tasks: Mapping[str, Task]) -> None:
        self.dataset, self.tasks = dataset, tasks

    def __getitem__(self, index: int) -> dict[str, Any]:
        labels = split_by_task(self.dataset[index][1], self.tasks, what="targets")
        return {name: self._read(label, self.tasks[name]) for name, label in labels.items()}

    def _read(self, label: object, task: Task) -> Any:
        target = read_single(label, task)
        if task.is_map:
            return target.squeeze(0).numpy()
        index = int(task.embedding_index(target))
        return None if index < 0 else index


def _kept_features(library: Any, source: HuggingFace) -> dict[str, Any]:
    """Return the columns of the original without those of other images."""
    features = source.dataset.features
    kept = {
        name: feature for name, feature in features.items() if name in source.tasks or not isinstance(feature, library.Image)
    }
    return {name: library.Image() if name == source.image else kept[name] for name in features if name in {source.image, *kept}}


def _task_features(library: Any, protected: ProtectedDataset[Any]) -> dict[str, Any]:
    names = class_names(protected.dataset, protected.tasks)
    features = {}
    for name, task in protected.tasks.items():
        if task.is_map:
            target = read_single(split_by_task(protected.dataset[0][1], protected.tasks, what="targets")[name], task)
            feature = library.Value(str(target.dtype).removeprefix("torch."))
            for _ in range(target.ndim - 1):
                feature = library.List(feature)
            features[name] = feature
        elif name in names:
            features[name] = library.ClassLabel(names=names[name])
        else:
            features[name] = library.ClassLabel(num_classes=task.num_embeddings)
    return features
