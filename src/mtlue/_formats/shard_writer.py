"""One shard of an unfinished store: its files, and the note of what in them is good."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from mtlue._formats.manifest import Fields
from mtlue._formats.stored_images import shard_files
from mtlue._runtime import sole_owner, write_bytes

#: Seconds of work that may be lost with the power. A process that is killed loses a batch.
_SYNC_EVERY = 10.0
_CHUNK = 2**20


class ShardWriter:
    """Writes the images of a shard under a lock of its own, and notes after each batch what is there.

    A writer takes up what an earlier one has noted, if the files still hold that.

    Args:
        folder: The folder of unfinished shards.
        number: Number of the shard.
        indices: The images that it is to hold.
        shape: Shape of all images, or None if they differ.

    Attributes:
        count: Number of images that are there.
    """

    def __init__(self, folder: Path, number: int, indices: range, shape: tuple[int, int, int] | None) -> None:
        self._folder, self._note, self._indices = folder, note_of(folder, number), indices
        self._names, self._files, self._open = shard_files(number, shape), dict[str, _HashedFile](), ExitStack()
        self._synced, self.count = time.monotonic(), 0

    def take(self) -> bool:
        """Lock the shard and open its files. Return False if another process writes it, or has finished it.

        Raises:
            ValueError: the note is damaged.
        """
        with ExitStack() as stack:
            try:
                stack.enter_context(sole_owner(self._note.with_suffix(""), argument="path"))
            except (BlockingIOError, FileNotFoundError):
                # Without its folder the store is finished.
                return False
            noted = Noted.read(self._note)
            if noted.count == len(self._indices):
                return False
            for name in self._names:
                self._files[name] = stack.enter_context(_HashedFile(self._folder / name, *noted.files.get(name, (0, ""))))
            if all(file.is_noted for file in self._files.values()):
                self.count = noted.count
            else:
                for file in self._files.values():
                    file.clear()
            self._open = stack.pop_all()
        return True

    @property
    def left(self) -> range:
        """The images that are still to be made."""
        return self._indices[self.count :]

    def append(self, images: Sequence[Tensor]) -> None:
        """Write the next images, and note that they are there."""
        self._files[self._names[0]].write([image.cpu() for image in images])
        for shapes in self._names[1:]:
            self._files[shapes].write([torch.tensor([image.shape for image in images], dtype=torch.int32)])
        self.count += len(images)
        sync = not self.left or time.monotonic() - self._synced > _SYNC_EVERY
        for file in self._files.values():
            file.keep(sync=sync)
        if sync:
            self._synced = time.monotonic()
        note = {"count": self.count, "files": {name: file.entry for name, file in self._files.items()}}
        write_bytes(json.dumps(note).encode(), self._note, sync=sync)

    def close(self) -> None:
        """Close the files and give up the lock. What was noted stays."""
        self._open.close()


class Noted:
    """What a note says of a shard.

    Attributes:
        count: Number of images that are there.
        files: Bytes and SHA-256 of its files.
    """

    def __init__(self, count: int, files: dict[str, tuple[int, str]]) -> None:
        self.count, self.files = count, files

    @classmethod
    def read(cls, note: Path) -> Noted:
        """Read a note. Without one, or with one that was lost with the power, nothing is there.

        Raises:
            ValueError: the note is damaged.
        """
        if not note.exists() or not note.stat().st_size:
            return cls(0, {})
        fields = Fields.read(note)
        return cls(fields.count("count"), fields.files())


def note_of(folder: Path, number: int) -> Path:
    """Return the file with the note of a shard."""
    return folder / f"{number:06d}.json"


class _HashedFile:
    """A file that is appended to, and the hash of what it holds.

    Args:
        path: The file.
        size: Bytes that were noted.
        digest: Their SHA-256.
    """

    def __init__(self, path: Path, size: int, digest: str) -> None:
        self._hash, self._size = hashlib.sha256(), 0
        if size and path.exists():
            with path.open("rb") as file:
                while self._size < size and (chunk := file.read(min(_CHUNK, size - self._size))):
                    self._hash.update(chunk)
                    self._size += len(chunk)
        self.is_noted = not size or (self._size, self._hash.hexdigest()) == (size, digest)
        self._file: IO[bytes] = path.open("ab")
        # What a killed process wrote after its last note is written again.
        self._file.truncate(self._size)

    def __enter__(self) -> _HashedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def entry(self) -> dict[str, int | str]:
        """The entry of a manifest."""
        return {"bytes": self._size, "sha256": self._hash.hexdigest()}

    def clear(self) -> None:
        """Begin again."""
        self._hash, self._size = hashlib.sha256(), 0
        self._file.truncate(0)

    def write(self, values: Sequence[Tensor]) -> None:
        """Append the bytes of some tensors."""
        for each in values:
            content = each.contiguous().numpy().tobytes()
            self._file.write(content)
            self._hash.update(content)
            self._size += len(content)

    def keep(self, *, sync: bool) -> None:
        """Give all that was written to the system, and force it onto the disk if wanted."""
        self._file.flush()
        if sync:
            os.fsync(self._file.fileno())
