"""A published folder together with the clean photos that it was made from."""

from __future__ import annotations

import argparse
from collections.abc import Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from torch import Tensor
from torch.utils.data import Dataset

from mtlue._cli.photos import find_table, open_table
from mtlue._data import to_bytes
from mtlue._protect import ProtectedDataset
from mtlue.datasets import ImageTable, label_columns


@dataclass(frozen=True)
class StoredPhotos:
    """Images of a folder, in 8 bits by index."""

    dataset: Dataset[Any]

    def __len__(self) -> int:
        """Return the number of images."""
        return len(cast("Sized", self.dataset))

    def __getitem__(self, index: int, /) -> Tensor:
        """Return an image, uint8 (C, H, W)."""
        return to_bytes(self.dataset[index][0])


def open_pair(options: argparse.Namespace, *, epsilon: float) -> tuple[ImageTable, ProtectedDataset[Tensor]]:
    """Open the clean photos, and the published ones with the same labels.

    Raises:
        FileNotFoundError: a folder or a table does not exist.
        ValueError: a table has faults, or the two do not belong together.
    """
    folder: Path = options.folder
    published_table = folder.absolute() / "labels.csv"
    if not published_table.is_file():
        raise FileNotFoundError(f"FOLDER: {folder} holds no labels.csv; expected a folder of photos that mtlue has written")
    names = [column.name for column in label_columns(folder, table=published_table)]
    table = find_table(options.photos, options.labels, "--labels")
    clean = open_table(options.photos, table, options, tasks=names)
    published = ImageTable(folder, table=published_table, tasks=clean.tasks, classes=clean.classes)
    if len(published) != len(clean):
        raise ValueError(f"FOLDER: {folder} has {len(published)} images, and {table} has {len(clean)} photos")
    if len(clean[0][0]) != len(published[0][0]):
        # A mix of grey and coloured photos, which were all converted to one kind.
        options.channels = len(published[0][0])
        clean = open_table(options.photos, table, options, tasks=names)
    return clean, ProtectedDataset(StoredPhotos(published), clean, tasks=clean.tasks, epsilon=epsilon)
