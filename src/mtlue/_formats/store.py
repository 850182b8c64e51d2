"""The folder to which a call with a path streams protected images: raw bytes with a manifest."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import IO, Any

import torch
from torch import Tensor

from mtlue._formats.images import ImageSink
from mtlue._formats.manifest import Fields, file_entry, signed
from mtlue._formats.stored_images import FORMAT, IMAGES, MANIFEST, SETTINGS, SHAPES, StoredImages, call_digits, files_of
from mtlue._formats.work_folder import WorkFolder
from mtlue._runtime import write_bytes

_PROGRESS = "progress.json"
#: The folder, inside that of an unfinished store, that gets the final name.
_READY = "ready"

logger = logging.getLogger("mtlue.protect")


class StoreWriter(ImageSink):
    """Writes images into a folder, one batch after the other, so that a killed process loses at most one batch.

    Args:
        folders: Where to write, which is made if needed, and where the store will be. If an earlier process has written there,
            writing resumes after its last batch.
        length: Number of images to come.
        shape: Shape of all images, or None if they differ.
        batch_size: Samples in a batch, unless an earlier process has begun with another size.
        manifest: What the manifest states besides the entries of its files.

    Raises:
        ValueError: a file of the earlier process is damaged.
    """

    def __init__(
        self,
        folders: WorkFolder,
        *,
        length: int,
        shape: tuple[int, int, int] | None,
        batch_size: int,
        manifest: Mapping[str, Any],
    ) -> None:
        folder = folders.work
        folder.mkdir(exist_ok=True)
        self.folders, self.folder, self.shape, self.manifest = folders, folder, shape, manifest
        self._files: dict[str, IO[bytes]] = {}
        self._published = folders.is_published
        if self._published:
            super().__init__(length, batch_size)
            self.count = length
            return
        # An earlier process, or a failed publication, stopped between the two.
        for name in (IMAGES, SHAPES):
            if (folder / _READY / name).exists():
                os.replace(folder / _READY / name, folder / name)
        state = self._noted()
        super().__init__(length, state.get("batch_size") or batch_size)
        self.count = state.get("count", 0)
        self._sizes: dict[str, int] = state.get("bytes", {IMAGES: 0, SHAPES: 0})
        try:
            for name, size in self._sizes.items():
                self._files[name] = (folder / name).open("ab")
                # What a killed process wrote after its last note is written again.
                self._files[name].truncate(size)
        except BaseException:
            self.close()
            raise
        if self.count:
            logger.info("protect: going on after %d of %d images, in %s", self.count, length, folder)
        else:
            logger.info("protect: streaming %d images to %s", length, folder)

    def _noted(self) -> dict[str, Any]:
        """Return what an earlier process noted about its work. Empty before the first note.

        Raises:
            ValueError: the note is damaged, or the files that it describes are.
        """
        if not (self.folder / _PROGRESS).exists():
            return {}
        try:
            noted = Fields.read(self.folder / _PROGRESS)
            sizes = Fields(_PROGRESS, noted.mapping("bytes"))
            bytes_of = {name: sizes.count(name) for name in (IMAGES, SHAPES)}
            state = {"bytes": bytes_of, **{name: noted.count(name) for name in ("count", "batch_size")}}
            for name, size in bytes_of.items():
                # A shorter file would be filled with zeros.
                found = (self.folder / name).stat().st_size if (self.folder / name).exists() else 0
                if found < size:
                    raise ValueError(f"{name} has {found} bytes, expected {size}")
        except ValueError as error:
            raise ValueError(f"path: {self.folder} is damaged and cannot be resumed ({error}); delete it") from None
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
        write_bytes(json.dumps(note).encode(), self.folder / _PROGRESS)

    def _write(self, name: str, content: bytes) -> None:
        self._files[name].write(content)
        self._sizes[name] += len(content)

    def close(self) -> None:
        """Close the files. What was noted stays."""
        with ExitStack() as stack:
            # Each of them, even if one fails on a full disk: buffered bytes must not be written later.
            for file in self._files.values():
                stack.callback(file.close)

    def finish(self) -> StoredImages:
        """Give a folder with the images and their manifest the final name in one step, and then remove the rest.

        The finished folder holds the protected images and what is needed to read them, and nothing else.

        Raises:
            OSError: the folder cannot get its name. Nothing is lost.
        """
        self.close()
        if not self._published:
            self._publish()
        images = StoredImages(self.folders.final)
        logger.info("protect: finished %s, %d images", self.folders.final, self.count)
        # The generator is removed too. The settings go last, because a call repeated after a kill is recognised by them.
        self.folders.remove(last=(MANIFEST, SETTINGS))
        return images

    def _publish(self) -> None:
        names = files_of(self.shape)
        settings = self.folder / SETTINGS
        content = signed({
            "format": FORMAT,
            **({"call": call_digits(settings.read_text())} if settings.exists() else {}),
            **self.manifest,
            "length": self.count,
            "shape": self.shape,
            "files": {name: file_entry(self.folder / name) for name in names},
        })
        ready = self.folder / _READY
        shutil.rmtree(ready, ignore_errors=True)
        ready.mkdir()
        # The copy that stays tells a call repeated after a kill that the finished store is its own.
        for folder in (self.folder, ready):
            write_bytes(json.dumps(content, indent=2).encode(), folder / MANIFEST)
        for name in names:
            os.replace(self.folder / name, ready / name)
        self.folders.publish(ready)
