"""The folder that a call with a path streams protected images to: raw bytes with a manifest."""

from __future__ import annotations

import json
import logging
import math
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from mtlue._formats.image_files import LABELS
from mtlue._formats.images import ImageSink
from mtlue._formats.manifest import EXPORT_MANIFEST, Fields, file_entry, file_fault, signed
from mtlue._runtime import remove_folder, text_digest, warn, write_bytes

FORMAT = "mtlue protected images 1"
MANIFEST, IMAGES, SHAPES, PROGRESS = "manifest.json", "images.bin", "shapes.bin", "progress.json"
#: What a call that is taken up again must have been given too.
SETTINGS = "settings.json"
#: The folder, in that of an unfinished store, that gets the final name.
_READY = "ready"

logger = logging.getLogger("mtlue.protect")


class StoreWriter(ImageSink):
    """Writes images into a folder, one batch after the other, so that a killed process loses one batch.

    Args:
        folder: Made if it is not there. If an earlier process has written to it, writing goes on after its last batch.
        final: The name of the folder once it is finished.
        length: Images that there will be.
        shape: Shape of all images, or None when they differ.
        batch_size: Samples a batch, where no earlier process has begun with another.
        manifest: What the manifest says beside what is said of the files.

    Raises:
        ValueError: a file of that process is damaged.
    """

    def __init__(
        self,
        folder: Path,
        final: Path,
        *,
        length: int,
        shape: tuple[int, int, int] | None,
        batch_size: int,
        manifest: Mapping[str, Any],
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.final, self.shape, self.manifest = folder, final, shape, manifest
        self._files: dict[str, IO[bytes]] = {}
        self._published = is_published(folder, final)
        if self._published:
            super().__init__(length, batch_size)
            self.count = length
            return
        # An earlier process, or a publication that failed, stopped between the two.
        for name in (IMAGES, SHAPES):
            if (folder / _READY / name).exists():
                os.replace(folder / _READY / name, folder / name)
        state = self._noted()
        super().__init__(length, state.get("batch_size") or batch_size)
        self.count = state.get("count", 0)
        self._sizes: dict[str, int] = state.get("bytes", {IMAGES: 0, SHAPES: 0})
        for name, size in self._sizes.items():
            file = (folder / name).open("ab")
            # What a killed process wrote after its last note is written again.
            file.truncate(size)
            self._files[name] = file
        if self.count:
            logger.info("protect: going on after %d of %d images, in %s", self.count, length, folder)
        else:
            logger.info("protect: streaming %d images to %s", length, folder)

    def _noted(self) -> dict[str, Any]:
        """What an earlier process noted of its work; nothing before the first note.

        Raises:
            ValueError: the note is damaged, or what it tells of is.
        """
        if not (self.folder / PROGRESS).exists():
            return {}
        try:
            noted = Fields.read(self.folder / PROGRESS)
            sizes = Fields(PROGRESS, noted.mapping("bytes"))
            bytes_of = {name: sizes.count(name) for name in (IMAGES, SHAPES)}
            state = {"bytes": bytes_of, **{name: noted.count(name) for name in ("count", "batch_size")}}
            for name, size in bytes_of.items():
                # A shorter file would be filled with zeros.
                found = (self.folder / name).stat().st_size if (self.folder / name).exists() else 0
                if found < size:
                    raise ValueError(f"{name} has {found} bytes, expected {size}")
        except ValueError as error:
            raise ValueError(f"path: {self.folder} is damaged and cannot be taken up ({error}); delete it") from None
        return state

    def append(self, images: Sequence[Tensor]) -> None:
        """Write the next images, and note that they are there."""
        for image in images:
            self._write(IMAGES, image.cpu().contiguous().numpy().tobytes())
            if self.shape is None:
                self._write(SHAPES, torch.tensor(image.shape, dtype=torch.int32).numpy().tobytes())
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        self.count += len(images)
        note = {"count": self.count, "batch_size": self.batch_size, "bytes": self._sizes}
        write_bytes(json.dumps(note).encode(), self.folder / PROGRESS)

    def _write(self, name: str, content: bytes) -> None:
        self._files[name].write(content)
        self._sizes[name] += len(content)

    def close(self) -> None:
        """Close the files; what was noted stays."""
        with ExitStack() as stack:
            # Each, also if one fails on a full disk: what it holds back must not be written later.
            for file in self._files.values():
                stack.callback(file.close)

    def finish(self) -> StoredImages:
        """Give a folder of the images and their manifest the final name in one step, then remove what is no longer needed.

        The finished folder holds the protected images and what is needed to read them, and nothing else.

        Raises:
            OSError: it cannot get its name; nothing is lost.
        """
        self.close()
        if not self._published:
            self._publish()
        images = StoredImages(self.final)
        logger.info("protect: finished %s, %d images", self.final, self.count)
        self._remove_rest()
        return images

    def _publish(self) -> None:
        names = _names(self.shape)
        settings = self.folder / SETTINGS
        content = signed({
            "format": FORMAT,
            # By it a call that is repeated knows its store when nothing else is left.
            **({"call": text_digest(settings.read_text())} if settings.exists() else {}),
            **self.manifest,
            "length": self.count,
            "shape": self.shape,
            "files": {name: file_entry(self.folder / name) for name in names},
        })
        ready = self.folder / _READY
        shutil.rmtree(ready, ignore_errors=True)
        ready.mkdir()
        # The copy that stays tells a call that is repeated after a kill that the finished store is its own.
        for folder in (self.folder, ready):
            write_bytes(json.dumps(content, indent=2).encode(), folder / MANIFEST)
        for name in names:
            os.replace(self.folder / name, ready / name)
        try:
            os.replace(ready, self.final)
        except OSError as error:
            text = f"path: {self.final} is in the way ({error.strerror}); take it away and repeat the call, nothing is lost"
            raise type(error)(error.errno, text) from error

    def _remove_rest(self) -> None:
        """Remove the folder with the generator; the settings last, by which a call that is repeated after a kill is known."""
        try:
            remove_folder(self.folder, last=(MANIFEST, SETTINGS))
        except OSError as error:
            warn(f"path: {self.final} is finished, but {self.folder} cannot be removed ({error.strerror}); delete it")


class StoredImages:
    """Images of a finished folder, mapped into memory and read when asked for.

    Args:
        folder: What `StoreWriter` left.

    Raises:
        FileNotFoundError: there is no such store.
        ValueError: it is truncated, was changed, or is of another format.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not (folder / MANIFEST).is_file():
            is_export = (folder / LABELS).is_file() or (folder / EXPORT_MANIFEST).is_file()
            hint = "; it looks like an export, which mtlue.datasets.ImageTable opens" if is_export else ""
            raise FileNotFoundError(f"path: {folder} is no finished store of protected images, it has no {MANIFEST}{hint}")
        try:
            self.fields = fields = Fields.read(folder / MANIFEST)
            fields.check(FORMAT)
            self._length, self.shape, files = fields.count("length"), _shape(fields), fields.files()
            for name in _names(self.shape):
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
        """One image, uint8, (C, H, W)."""
        if self._map is None:
            path = self.folder / IMAGES
            self._map = torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
        if self.shape is not None:
            start, shape = index * math.prod(self.shape), list(self.shape)
        else:
            start, shape = int(self._starts[index]), self._shapes[index].tolist()
        return self._map[start : start + math.prod(shape)].view(shape)

    def __getstate__(self) -> dict[str, Any]:
        """State without the map: a worker process makes its own instead of being sent every image."""
        return {**self.__dict__, "_map": None}


def is_published(folder: Path, final: Path) -> bool:
    """Whether a finished store was made from this folder, which a kill has left."""
    if not all(file.is_file() for file in (folder / SETTINGS, folder / MANIFEST, final / MANIFEST)):
        return False
    return (folder / MANIFEST).read_bytes() == (final / MANIFEST).read_bytes()


def call_of(final: Path) -> str | None:
    """Checksum of the settings of the call that finished a store; None if there is none, or it does not say."""
    try:
        fields = Fields.read(final / MANIFEST)
        fields.check(FORMAT)
        return fields.text("call")
    except (OSError, ValueError):
        return None


def _names(shape: object) -> list[str]:
    return [IMAGES, SHAPES] if shape is None else [IMAGES]


def _shape(fields: Fields) -> tuple[int, ...] | None:
    if "shape" in fields.content and fields.content["shape"] is None:
        return None
    shape = fields.items("shape")
    if len(shape) != 3 or not all(type(side) is int and 0 < side < 2**31 for side in shape):
        raise fields.wrong("shape", "channels, height and width")
    return tuple(shape)
