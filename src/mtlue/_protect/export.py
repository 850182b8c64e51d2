"""A protected data set as plain files."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.functional import to_pil_image

from mtlue._protect.class_names import CLASSES, class_names
from mtlue._protect.storage import Images
from mtlue._tasks import Task, read_single, split_by_task

_FORMATS = ("png", "npy")


def export_folder(images: Images, dataset: Dataset[Any], tasks: Mapping[str, Task], folder: Path, *, format: str) -> None:
    """Write images and labels, and raise what is said there; see `mtlue.ProtectedDataset.export`.

    Raises:
        ValueError: the format is unknown, or cannot hold the images.
        FileExistsError: the folder has something in it.
    """
    if format not in _FORMATS:
        lossy = "; a lossy format changes pixels beyond epsilon and weakens the protection" if format in ("jpg", "jpeg") else ""
        raise ValueError(f"format: expected one of {_FORMATS}, got {format!r}{lossy}")
    channels = images[0].shape[0]
    if format == "png" and channels not in (1, 3):
        raise ValueError(f"format: PNG holds 1 or 3 channels, the images have {channels}; use format='npy'")
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"folder: {folder} is not empty")
    classes = [name for name, task in tasks.items() if task.num_embeddings]
    maps = [name for name in tasks if name not in classes]
    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name in maps:
        (folder / "labels" / name).mkdir(parents=True)
    names = class_names(dataset, tasks)
    if names:
        (folder / CLASSES).write_text(json.dumps(names, ensure_ascii=False, indent=2), encoding="utf-8")
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", *classes])
        for index in range(len(images)):
            name = f"{index:06d}"
            _write_image(images[index], folder / "images" / f"{name}.{format}")
            labels = split_by_task(dataset[index][1], tasks, what="targets")
            targets = {task: read_single(label, tasks[task]).squeeze(0) for task, label in labels.items()}
            table.writerow([f"images/{name}.{format}", *[tasks[task].table_entry(targets[task]) for task in classes]])
            for task in maps:
                _write_array(targets[task], folder / "labels" / task / f"{name}.npy")


def _write_image(image: Tensor, path: Path) -> None:
    if path.suffix == ".png":
        to_pil_image(image).save(path)
    else:
        _write_array(image, path)


def _write_array(values: Tensor, path: Path) -> None:
    import numpy  # torchvision brings it; needed here alone

    numpy.save(path, values.contiguous().numpy())
