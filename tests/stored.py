"""Images, and writers and readers of stores that hold them."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtlue._formats import Portion, StoredImages, StoreWriter, WorkFolder
from mtlue._formats.images import Maker

#: Heights and widths of 23 images.
SIZES = {"alike": [(4, 6)] * 23, "of several sizes": [(1 + index % 5, 2 + index % 3) for index in range(23)]}


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


def shape_of(images: list[Tensor]) -> tuple[int, ...] | None:
    """The shape of all images, if they have one."""
    return tuple(images[0].shape) if len({image.shape for image in images}) == 1 else None


def same(stored: StoredImages, images: list[Tensor]) -> bool:
    """Whether a store holds these images and no others."""
    return len(stored) == len(images) and all(torch.equal(stored[index], image) for index, image in enumerate(images))


def content(folder: Path) -> dict[str, bytes]:
    """The files of a folder by name."""
    return {file.name: file.read_bytes() for file in folder.iterdir()}
