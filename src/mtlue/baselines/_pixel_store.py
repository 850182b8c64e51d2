"""The perturbations of a whole data set between two rounds, in memory or in a file, but never as floats."""

from __future__ import annotations

import errno
import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtlue._fit import Checkpoint, count_in
from mtlue._runtime import private

PERTURBATIONS, LAST_BATCH = "perturbations.bin", "last_batch.pt"

# Sixteen bits for [-epsilon, epsilon]. A round starts where the last one ended, so stored values must resolve a step. At
# epsilon = 8/255 the unit is 0.00024 levels, and the paper's smallest step is 0.064. Eight bits in whole levels would lose
# every such step, and float16 is coarsest at the bound, where most pixels end.
_LARGEST = 32767
_CHUNK = 2**24


class PixelStore:
    """Perturbations (N, C, H, W) as 16-bit fixed point in units of epsilon / 32767.

    In a folder, a batch is first noted in a file that is replaced as a whole, and then written in place. If the process is
    killed at any point, the noted batch is written again, and no other batch is in doubt.

    Args:
        length: Number of samples.
        shape: Shape (C, H, W) of each perturbation.
        epsilon: Largest absolute value.
        folder: Folder of the file, which is mapped into memory. None keeps everything in memory.
        fresh: Whether to start with zeros, whatever an interrupted call left in the folder.

    Raises:
        ValueError: the file that this call left is damaged.
        OSError: there is no room for the file.
    """

    def __init__(
        self, length: int, shape: tuple[int, int, int], *, epsilon: float, folder: Path | None, fresh: bool = True
    ) -> None:
        self._unit = epsilon / _LARGEST
        self._path = None if folder is None else folder / PERTURBATIONS
        last_batch = None if folder is None else folder / LAST_BATCH
        #: The batch that was written last.
        self.note = Checkpoint(last_batch, {})
        if fresh:
            for file in (self._path, last_batch):
                if file is not None:
                    file.unlink(missing_ok=True)
        size = length * math.prod(shape)
        if self._path is None:
            levels = torch.zeros(size, dtype=torch.int16)
        else:
            _allocate(self._path, size * torch.int16.itemsize)
            levels = torch.from_file(str(self._path), shared=True, size=size, dtype=torch.int16)
        self._levels = levels.view(length, *shape)

    def read(self, indices: Sequence[int]) -> Tensor:
        """Read the perturbations of some samples, floats (B, C, H, W)."""
        return self._levels[torch.as_tensor(indices, dtype=torch.int64)].float() * self._unit

    def write(self, delta: Tensor, *, round: int, start: int, beside: Mapping[str, Any] | None = None) -> None:
        """Replace the perturbations of the next samples of this round, from ``start`` on. Note what is given beside them."""
        levels = (delta.float() / self._unit).round().clamp(-_LARGEST, _LARGEST).to(torch.int16)
        self._flush()
        self.note.save({**(beside or {}), "round": round, "start": start, "levels": levels})
        self._levels[start : start + len(levels)] = levels

    def resume(self, round: int) -> int:
        """Repair what an interrupted call left. Returns how many samples have been through this round.

        Raises:
            ValueError: the note is damaged.
        """
        state = self.note.load()
        if state is None:
            return 0
        with self.note.taking_up():
            levels, start = state["levels"], count_in(state, "start")
            own = self._levels[start : start + len(levels)]
            if levels.shape != own.shape or levels.dtype != own.dtype:
                raise ValueError(f"levels has the shape {tuple(levels.shape)} at image {start}, expected {tuple(own.shape)}")
            own[:] = levels
            return start + len(levels) if count_in(state, "round") == round else 0

    def _flush(self) -> None:
        # What was written through the map must be on the disk before the note that could repair it is replaced.
        if self._path is not None:
            with self._path.open("r+b") as file:
                os.fsync(file.fileno())


def _allocate(path: Path, size: int) -> None:
    """Reserve blocks on the disk for a file, zeros if it is new. Writing to a map without blocks can kill the process.

    Raises:
        ValueError: the file exists with another size.
        OSError: the disk has no room.
    """
    new = not path.exists()
    if not new and path.stat().st_size != size:
        fault = f"{path.name} has {path.stat().st_size} bytes, expected {size}"
        raise ValueError(f"path: {path.parent} is damaged and cannot be resumed ({fault}); delete it")
    try:
        with open(path, "xb" if new else "r+b", opener=private) as file:
            if not _reserved(file.fileno(), size) and new:
                for start in range(0, size, _CHUNK):
                    file.write(bytes(min(_CHUNK, size - start)))
    except OSError:
        if new:
            path.unlink(missing_ok=True)
        raise


def _reserved(descriptor: int, size: int) -> bool:
    """Return whether the system reserved blocks for a file. Not every system or file system can.

    Raises:
        OSError: the disk has no room.
    """
    if not hasattr(os, "posix_fallocate"):
        return False
    try:
        os.posix_fallocate(descriptor, 0, size)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
        return False
    return True
