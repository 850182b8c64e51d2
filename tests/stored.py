"""Images, and writers and readers of stores that hold them."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtlue._formats import Portion, StoreWriter, WorkFolder
from mtlue._formats.images import Maker


def images_of(sizes: list[tuple[int, int]], channels: int = 3) -> list[Tensor]:
    """Images of these sizes."""
    random = torch.Generator().manual_seed(0)
    return [torch.randint(256, (channels, *size), generator=random, dtype=torch.uint8) for size in sizes]


def writer_of(folder: Path, length: int, shape: Any = None, batch_size: int = 2) -> StoreWriter:
    """What writes a store to a folder."""
    folders = WorkFolder(folder, folder.with_name("draft"))
    return StoreWriter(folders, length=length, shape=shape, batch_size=batch_size, manifest={"epsilon": 8 / 255})


def maker(images: list[Tensor], batch_size: int = 2) -> Maker:
    """Makes those of the images that a portion asks for."""

    def make(portion: Portion) -> Generator[list[Tensor], None, None]:
        while indices := list(itertools.islice(portion.indices, batch_size)):
            yield [images[index] for index in indices if index < len(images)]

    return make
