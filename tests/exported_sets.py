"""Small protected sets, formats that write them in small parts, and the files that come of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import mtlue
from mtlue import baselines, datasets
from optional import needs

TASKS = {"shoe": mtlue.Classification(2), "parts": mtlue.Segmentation(3)}


def make_set(seed: int = 0, length: int = 11, tasks: Any = None, classes: Any = None) -> Any:
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (length, 3, 6, 7), generator=random, dtype=torch.uint8)
    maps = torch.randint(3, (length, 6, 7), generator=random)
    clean = WithClasses((image, {"shoe": index % 2, "parts": maps[index]}) for index, image in enumerate(images))
    clean.classes = classes
    return baselines.random_noise(clean, tasks=TASKS if tasks is None else tasks)


class WithClasses(list[Any]):
    """A data set that may tell the names of its classes."""

    classes: Any = None


class Four(datasets.PNG):
    """Small parts, so that a small set has several."""

    part_size = 4


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


FORMATS: dict[str, Callable[[], Any]] = {
    "png": Four,
    "npy": lambda: "npy",
    "webdataset": lambda: datasets.TarShards(4),
    "parquet": lambda: datasets.ParquetShards(4),
}


def format_of(name: str) -> Any:
    if name == "parquet":
        needs("pyarrow", extra="huggingface")
    return FORMATS[name]()
