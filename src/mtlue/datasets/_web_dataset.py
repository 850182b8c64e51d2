"""Tar shards of samples, read as a stream."""

from __future__ import annotations

import io
import json
import os
import random
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, cast

from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from mtlue._checks import check_count, check_seed, naming
from mtlue._data import FIRST_SAMPLES, infer_tasks, to_unit_floats
from mtlue._formats import EXPORT_MANIFEST, decode_array, exported_tasks, read_class_names
from mtlue._runtime import require
from mtlue._tasks import Task, Tasks, read_single
from mtlue.datasets._class_column import requested_tasks
from mtlue.datasets._files import check_exist
from mtlue.datasets._images import check_channels, read_channels, reading, upright

_SOURCE = "give the paths or addresses of tar files"


class WebDataset(IterableDataset[tuple[Tensor, dict[str, Tensor]]]):
    """Tar shards that the library ``webdataset`` reads, such as those of an export, as a stream for `mtlue.fit`.

    Needs the library: ``mtlue[webdataset]``. In a shard the files of a sample follow each other and differ in their endings.
    Labels are integers: the entries of its ``.json``, or the content of its ``.cls``, which is a task of the name ``cls``. A
    missing label is absent, null or -1. The label map of a task is a file ``.<task>.npy``.

    ``mtlue.fit(generator, stream, surrogate, loss=loss, steps_per_epoch=1000)`` trains on it, and
    ``generator.on_stream(stream)`` protects it, in one pass.

    Args:
        urls: A folder with shards, a path or address in which ``{000000..000999}`` stands for many, or a list of these.
        tasks: A dict of tasks by name as everywhere, or a list of names. None takes the tasks of an export of mtlue, if the
            shards lie in its folder, or else all integers that the first 512 samples have. A number of classes that is not
            given is inferred from those samples.
        image: Endings of image files in order of preference, separated by semicolons.
        channels: 1 converts each image to grey, 3 to RGB; None leaves grey images grey and converts all others to RGB.
        shuffle: Samples among which the next one is drawn, and shards come in a random order; 0 keeps the order of the files.
        seed: Seed of that order, which is the same in each pass.

    Attributes:
        tasks: The tasks by name.
        classes: Names of classes by task, if an export beside the shards has them.
        left_out: Entries of the first samples' labels that are not tasks, each with the reason.
        shards: The paths or addresses of the shards in their order.
        is_protected: Whether the shards lie in an export of a protected set, which must not be protected again.

    Raises:
        ImportError: the library is not installed.
        TypeError: an argument has the wrong type.
        FileNotFoundError: a shard does not exist.
        ValueError: there are no labels, or no integers to infer a task from.

    Example:
        >>> import tempfile
        >>> import torch, mtlue
        >>> from mtlue import baselines, datasets
        >>> dataset = [(torch.rand(3, 8, 8), {"smiling": label}) for label in (0, 1, 1)]
        >>> protected = baselines.random_noise(dataset, tasks={"smiling": 2})  # or mtlue.protect(dataset)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     protected.export(f"{folder}/out", format="webdataset")
        ...     stream = datasets.WebDataset(f"{folder}/out")
        ...     print(stream.tasks, [int(targets["smiling"]) for image, targets in stream])
        {'smiling': Classification(2)} [0, 1, 1]
    """

    def __init__(
        self,
        urls: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
        *,
        tasks: Tasks | Collection[str] | None = None,
        image: str = "png;jpg;jpeg;webp;bmp;npy",
        channels: int | None = None,
        shuffle: int = 0,
        seed: int = 0,
    ) -> None:
        library = require("webdataset", extra="webdataset")
        self._channels = check_channels(channels)
        self._shuffle = check_count("shuffle", shuffle, minimum=0)
        self._seed = check_seed("seed", seed)
        if not isinstance(image, str) or not all(image.split(";")):
            raise TypeError(f'image: expected endings of files such as "png;jpg", got {image!r}')
        self._endings = image.lower().split(";")
        given = [urls] if isinstance(urls, str | os.PathLike) else list(urls)
        self.shards = [shard for each in given for shard in _shards(library, os.fspath(each))]
        if not self.shards:
            raise FileNotFoundError(f"urls: found no tar files in {urls}; {_SOURCE}")
        check_exist([Path(shard) for shard in self.shards if _is_file(shard)], source=_SOURCE)
        folder = Path(self.shards[0]).parent
        self.is_protected = (folder / EXPORT_MANIFEST).is_file()
        self.left_out: dict[str, str] = {}
        self.tasks = self._resolved(requested_tasks(tasks), exported_tasks(folder))
        names = read_class_names(folder)
        self.classes = {
            name: names[name] for name, task in self.tasks.items() if name in names and len(names[name]) == task.num_embeddings
        }

    def __iter__(self) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Yield the samples: an image (C, H, W) in [0, 1], and a tensor for each task, int64 of shape () for a class.

        Raises:
            ValueError: a sample has no image, or it or a label cannot be read. The message names shard and sample.
        """
        for row in self._rows():
            with reading(_place(row), "an image with labels"):
                sample = to_unit_floats(self._image(row)), self._targets(row)
            yield sample

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Yield the contents of the files of each sample by ending, and where it is. Processes that read share the shards."""
        order = random.Random(self._seed)
        shards = order.sample(self.shards, len(self.shards)) if self._shuffle else self.shards
        worker = get_worker_info()
        rows = _samples_of(shards if worker is None else shards[worker.id :: worker.num_workers])
        if self._shuffle:
            rows = require("webdataset.filters", extra="webdataset").shuffle(self._shuffle, rng=order)(rows)
        yield from rows

    def _image(self, row: Mapping[str, bytes]) -> Tensor:
        ending = next((ending for ending in self._endings if ending in row), None)
        if ending is None:
            raise ValueError(f"found no image with one of the endings {self._endings}, only {_endings(row)}")
        if ending == "npy":
            return read_channels(decode_array(row[ending]), self._channels)
        with Image.open(io.BytesIO(row[ending])) as file:
            return read_channels(upright(file), self._channels)

    def _targets(self, row: Mapping[str, bytes]) -> dict[str, Tensor]:
        labels = _labels(row)
        targets: dict[str, Tensor] = {}
        for name, task in self.tasks.items():
            with naming(f"task {name!r}"):
                if task.is_map:
                    # The library turns all endings to small letters.
                    ending = f"{name}.npy".lower()
                    if ending not in row:
                        raise ValueError(f"found no label map {ending!r}, only {_endings(row)}")
                    label: object = decode_array(row[ending])
                else:
                    value = labels.get(name)
                    label = getattr(task, "ignore_index", -1) if value is None or value == -1 else value
                targets[name] = read_single(label, task).squeeze(0)
        return targets

    def _resolved(self, wanted: Mapping[str, Task | None] | None, known: Mapping[str, Task]) -> dict[str, Task]:
        """Return the tasks that were asked for: as they were given, as an export has them, or else inferred."""
        if wanted is None and known:
            return dict(known)
        found = {name: task or known.get(name) for name, task in (wanted or {}).items()}
        if wanted is None or None in found.values():
            first = self._first_labels()
            names = self._integers(first) if wanted is None else [name for name, task in found.items() if task is None]
            samples = [(None, {name: -1 if labels.get(name) is None else labels[name] for name in names}) for labels in first]
            found |= infer_tasks(cast("Dataset[Any]", samples))
        return cast("dict[str, Task]", found)

    def _first_labels(self) -> list[dict[str, Any]]:
        first = []
        for row in islice(self._rows(), FIRST_SAMPLES):
            with reading(_place(row), "labels"):
                first.append(_labels(row))
        return first

    def _integers(self, first: Sequence[Mapping[str, Any]]) -> list[str]:
        """Return the names of all labels that are integers, and note why others are not tasks.

        Raises:
            ValueError: there are none.
        """
        others = {name: value for labels in first for name, value in labels.items() if not isinstance(value, int | None)}
        self.left_out = {name: f"{value!r} is not an integer" for name, value in others.items()}
        names = dict.fromkeys(name for labels in first for name, value in labels.items() if value is not None)
        if names.keys() <= others.keys():
            raise ValueError(
                f"tasks: the first {len(first)} samples have no integers as labels in .json or .cls files "
                f"({'; '.join(self.left_out.values()) or 'no labels at all'}); label maps need tasks="
            )
        return [name for name in names if name not in others]

    def __repr__(self) -> str:
        """Return shards and tasks, and the labels that are left out and why."""
        left_out = f", left_out={self.left_out}" if self.left_out else ""
        return f"WebDataset({len(self.shards)} shards, tasks={self.tasks}{left_out})"


def _samples_of(shards: Sequence[str]) -> Iterator[dict[str, Any]]:
    archives = require("webdataset.tariterators", extra="webdataset")
    opened = require("webdataset.gopen", extra="webdataset").gopen
    for shard in shards:
        # The library's own pipeline would leave the file to the garbage collector.
        with opened(shard) as stream:
            yield from archives.group_by_keys(archives.tar_file_expander([{"url": shard, "stream": stream}]))


def _shards(library: Any, url: str) -> list[str]:
    folder = Path(url)
    if folder.is_dir():
        return sorted(str(path) for path in folder.glob("*.tar"))
    return list(library.shardlists.expand_urls(url))


def _is_file(shard: str) -> bool:
    """Return whether a shard is a file of this machine."""
    return "://" not in shard and not shard.startswith("pipe:")


def _place(row: Mapping[str, Any]) -> str:
    return f"{row['__url__']}: sample {row['__key__']!r}"


def _endings(row: Mapping[str, Any]) -> list[str]:
    return [name for name in row if not name.startswith("__")]


def _labels(row: Mapping[str, bytes]) -> dict[str, Any]:
    """Return the labels of a sample by name: the entries of its JSON file, or else the content of its class file.

    Raises:
        ValueError: a file does not hold what it should.
    """
    if "json" in row:
        labels = json.loads(row["json"])
        if not isinstance(labels, dict):
            raise ValueError(f"expected an object by task in the .json file, got {type(labels).__name__}")
        return labels
    return {"cls": int(row["cls"])} if "cls" in row else {}
