"""The finished folder of a store, and its images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtlue._formats.image_files import LABELS
from mtlue._formats.manifest import EXPORT_MANIFEST, Fields, file_fault
from mtlue._runtime import text_digest

FORMAT = "mtlue protected images 1"
MANIFEST, IMAGES, SHAPES = "manifest.json", "images.bin", "shapes.bin"
#: What a resumed call must have been given, too.
SETTINGS = "settings.json"
# A store is published, and the seed of its call can be guessed. The settings hold a checksum of clean images, of 12 digits.
# With so few digits here, each guess of the seed fits some 2^24 of those checksums, so no guess can be confirmed.
_DIGITS = 6


class StoredImages:
    """Images of a finished folder, mapped into memory and read on demand.

    Args:
        folder: The folder that `StoreWriter` left.

    Raises:
        FileNotFoundError: there is no such store.
        ValueError: the store is truncated, was changed, or is of another format.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / MANIFEST).is_file():
            is_export = (folder / LABELS).is_file() or (folder / EXPORT_MANIFEST).is_file()
            hint = "; it looks like an export, which mtlue.datasets.ImageTable opens" if is_export else ""
            raise FileNotFoundError(f"path: {folder} is not a finished store of protected images: {MANIFEST} is missing{hint}")
        try:
            self.fields = fields = Fields.read(folder / MANIFEST)
            fields.check(FORMAT)
            self._length, self.shape, files = fields.count("length"), _shape(fields), fields.files()
            for name in files_of(self.shape):
                if name not in files:
                    raise ValueError(f"{MANIFEST} has no entry {name!r} among its files")
                fault = file_fault(folder / name, name, files[name])
                if fault is not None:
                    raise ValueError(fault)
            self._read_offsets()
        except ValueError as error:
            raise ValueError(f"path: the store {folder} cannot be used: {error}") from None
        self._map: Tensor | None = None

    def _read_offsets(self) -> None:
        if self.shape is not None:
            total = self._length * math.prod(self.shape)
        else:
            raw = bytearray((self.folder / SHAPES).read_bytes())
            if len(raw) != self._length * 12:
                raise ValueError(f"{SHAPES} has {len(raw)} bytes, expected 12 for each of {self._length} images")
            self._shapes = torch.frombuffer(raw, dtype=torch.int32).reshape(-1, 3).long()
            if bool((self._shapes < 1).any()):
                raise ValueError(f"{SHAPES} has a side of less than one pixel")
            ends = self._shapes.prod(dim=1).cumsum(0)
            self._starts = torch.cat([torch.zeros(1, dtype=torch.int64), ends])
            total = int(ends[-1])
        if total != (self.folder / IMAGES).stat().st_size:
            raise ValueError(f"{IMAGES} does not hold {self._length} images of the shape that the manifest gives")

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Tensor:
        """Return an image, uint8, (C, H, W)."""
        if self._map is None:
            path = self.folder / IMAGES
            self._map = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
        if self.shape is not None:
            start, shape = index * math.prod(self.shape), list(self.shape)
        else:
            start, shape = int(self._starts[index]), self._shapes[index].tolist()
        return self._map[start : start + math.prod(shape)].view(shape)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the map: a worker process opens its own instead of receiving every image."""
        return {**self.__dict__, "_map": None}


def call_digits(settings: str) -> str:
    """Return what a manifest states about the settings of the call that made a store.

    A repeated call recognises its own by it.
    """
    return text_digest(settings)[:_DIGITS]


def call_of(final: Path) -> str | None:
    """Return the `call_digits` of the call that finished a store, or None if there is none or it does not state them."""
    try:
        fields = Fields.read(final / MANIFEST)
        fields.check(FORMAT)
        return fields.text("call")
    except (OSError, ValueError):
        return None


def files_of(shape: object) -> list[str]:
    """Return the names of the files for images of one shape, or of several shapes if it is None."""
    return [IMAGES, SHAPES] if shape is None else [IMAGES]


def _shape(fields: Fields) -> tuple[int, ...] | None:
    if "shape" in fields.content and fields.content["shape"] is None:
        return None
    shape = fields.items("shape")
    if len(shape) != 3 or not all(type(side) is int and 0 < side < 2**31 for side in shape):
        raise fields.wrong("shape", "channels, height and width")
    return tuple(shape)
