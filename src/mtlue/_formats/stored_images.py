"""The finished folder of a store, and its images."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtlue._formats.image_files import LABELS
from mtlue._formats.manifest import EXPORT_MANIFEST, Fields, file_fault, size_fault
from mtlue._runtime import file_named, text_digest

FORMAT = "mtlue protected images 2"
#: The form of 0.1 and 0.2: one file of images.
OLD_FORMAT = "mtlue protected images 1"
MANIFEST, SHARD = "manifest.json", "shard"
#: What a resumed call must have been given, too.
SETTINGS = "settings.json"
_IMAGES, _SHAPES = "images", "shapes"
# A store is published, and the seed of its call can be guessed. The settings hold a checksum of clean images, of 12 digits.
# With so few digits here, each guess of the seed fits some 2^24 of those checksums, so no guess can be confirmed.
_DIGITS = 6


class StoredImages:
    """Images of a finished folder, mapped into memory and read on demand.

    Only the manifest is read here. The files of a shard are checked when the first of its images is read.

    Args:
        folder: The folder that `StoreWriter` left.

    Raises:
        FileNotFoundError: there is no such store.
        ValueError: the manifest was changed, contradicts itself, or is of another format.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / MANIFEST).is_file():
            is_export = (folder / LABELS).is_file() or (folder / EXPORT_MANIFEST).is_file()
            hint = "; it looks like an export, which mtlue.datasets.ImageTable opens" if is_export else ""
            raise FileNotFoundError(f"path: {folder} is not a finished store of protected images: {MANIFEST} is missing{hint}")
        try:
            self.fields = fields = Fields.read(folder / MANIFEST)
            fields.check(FORMAT, OLD_FORMAT)
            self._length, self.shape, self._files = fields.count("length"), _shape(fields), fields.files()
            self._old = fields.text("format") == OLD_FORMAT
            self._size = max(self._length, 1) if self._old else fields.count(SHARD)
            if not self._size:
                raise fields.wrong(SHARD, "the number of images in a shard")
            self._shards = [self._names(number) for number in range(-(-self._length // self._size))]
        except ValueError as error:
            raise self._unusable(error) from None
        self._opened: dict[int, _Shard] = {}
        # In shared memory: what one worker process has checked, the others need not read again.
        self._checked = torch.zeros(len(self._shards), dtype=torch.bool).share_memory_()

    def _names(self, number: int) -> list[str]:
        """Return the names of the files of a shard.

        Raises:
            ValueError: the manifest states no size of them, or another one.
        """
        names, count = shard_files(None if self._old else number, self.shape), self._count(number)
        for name in names:
            if name not in self._files:
                raise ValueError(f"{MANIFEST} has no entry {name!r} among its files")
        size = self._files[names[-1]][0]
        if self.shape is not None and size != count * math.prod(self.shape):
            raise ValueError(f"{names[0]} does not hold {count} images of the shape that the manifest gives")
        if self.shape is None and size != count * 12:
            raise ValueError(f"{names[1]} has {size} bytes, expected 12 for each of {count} images")
        return names

    def _count(self, number: int) -> int:
        return min(self._size, self._length - number * self._size)

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Tensor:
        """Return an image, uint8, (C, H, W).

        Raises:
            ValueError: a file of its shard is missing, truncated or was changed.
        """
        number = index // self._size
        if not self._checked[number]:
            for name in self._shards[number]:
                fault = file_fault(self.folder / name, name, self._files[name])
                if fault is not None:
                    raise self._unusable(fault)
            self._checked[number] = True
        return self.unchecked(index)

    def unchecked(self, index: int) -> Tensor:
        """Return an image of a shard that may have been changed."""
        number, position = divmod(index, self._size)
        return self._shard(number)[position]

    def check_layout(self) -> None:
        """Check that files have the expected sizes, and hold images of the shapes that are stated.

        Raises:
            ValueError: a file is missing, truncated, or contradicts the manifest.
        """
        for number in range(len(self._shards)):
            self._shard(number)

    def _shard(self, number: int) -> _Shard:
        if number not in self._opened:
            names = self._shards[number]
            try:
                for name in names:
                    fault = size_fault(self.folder / name, name, self._files[name][0])
                    if fault is not None:
                        raise ValueError(fault)
                self._opened[number] = _Shard([self.folder / name for name in names], self.shape)
            except ValueError as error:
                raise self._unusable(error) from None
        return self._opened[number]

    def _unusable(self, fault: object) -> ValueError:
        return ValueError(f"path: the store {self.folder} cannot be used: {fault}")

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the maps: a worker process opens its own instead of receiving every image."""
        return {**self.__dict__, "_opened": {}}


class _Shard:
    """The images of one file. Nothing is read before it is asked for, but for shapes that differ.

    Raises:
        ValueError: shapes and images contradict each other.
    """

    def __init__(self, files: list[Path], shape: tuple[int, ...] | None) -> None:
        size, self._shape = files[0].stat().st_size, shape
        if shape is None:
            with file_named(files[1]):
                raw = torch.frombuffer(bytearray(files[1].read_bytes()), dtype=torch.int32)
            self._shapes = raw.reshape(-1, 3).long()
            if bool((self._shapes < 1).any()):
                raise ValueError(f"{files[1].name} has a side of less than one pixel")
            ends = self._shapes.prod(dim=1).cumsum(0)
            self._starts = torch.cat([torch.zeros(1, dtype=torch.int64), ends])
            if int(ends[-1]) != size:
                raise ValueError(f"{files[0].name} does not hold {len(ends)} images of the shapes in {files[1].name}")
        self._map = torch.from_file(str(files[0]), shared=False, size=size, dtype=torch.uint8)

    def __getitem__(self, position: int) -> Tensor:
        if self._shape is not None:
            start, shape = position * math.prod(self._shape), list(self._shape)
        else:
            start, shape = int(self._starts[position]), self._shapes[position].tolist()
        return self._map[start : start + math.prod(shape)].view(shape)


def call_digits(settings: str) -> str:
    """Return what a manifest states about the settings of the call that made a store.

    A repeated call recognises its own by it.
    """
    return text_digest(settings)[:_DIGITS]


def call_of(final: Path) -> str | None:
    """Return the `call_digits` of the call that finished a store, or None if there is none or it does not state them."""
    try:
        fields = Fields.read(final / MANIFEST)
        fields.check(FORMAT, OLD_FORMAT)
        return fields.text("call")
    except (OSError, ValueError):
        return None


def shard_files(number: int | None, shape: object) -> list[str]:
    """Return the names of the files of a shard, for images of one shape, or of several shapes if it is None."""
    suffix = "" if number is None else f"-{number:06d}"
    return [f"{kind}{suffix}.bin" for kind in ((_IMAGES, _SHAPES) if shape is None else (_IMAGES,))]


def _shape(fields: Fields) -> tuple[int, ...] | None:
    if "shape" in fields.content and fields.content["shape"] is None:
        return None
    shape = fields.items("shape")
    if len(shape) != 3 or not all(type(side) is int and 0 < side < 2**31 for side in shape):
        raise fields.wrong("shape", "channels, height and width")
    return tuple(shape)
