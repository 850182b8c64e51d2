"""The perturbations of a whole data set between two rounds, in memory or in files, but never as floats."""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtlue._fit import Checkpoint, count_in
from mtlue._formats import POLL
from mtlue._runtime import ALONE, Ranks, private, sole_owner

# Sixteen bits for [-epsilon, epsilon]. A round starts where the last one ended, so stored values must resolve a step. At
# epsilon = 8/255 the unit is 0.00024 levels, and the paper's smallest step is 0.064. Eight bits in whole levels would lose
# every such step, and float16 is coarsest at the bound, where most pixels end.
_LARGEST = 32767
_CHUNK = 2**24


class PixelStore:
    """Perturbations (N, C, H, W) as 16-bit fixed point in units of epsilon / 32767, in blocks of samples.

    Several processes can share the folder: each block is written by one at a time, and read by all.

    Args:
        length: Number of samples.
        shape: Shape (C, H, W) of each perturbation.
        epsilon: Largest absolute value.
        block_size: Samples in a block.
        folder: Folder of the blocks, made before they are allocated. None keeps them in memory.

    Attributes:
        blocks: The blocks, in order.
    """

    def __init__(
        self, length: int, shape: tuple[int, int, int], *, epsilon: float, block_size: int, folder: Path | None = None
    ) -> None:
        self._unit, self._shape, self._size = epsilon / _LARGEST, shape, block_size
        self.blocks = [
            PixelBlock(number, range(start, min(start + block_size, length)), shape, self._unit, folder)
            for number, start in enumerate(range(0, length, block_size))
        ]

    @property
    def is_there(self) -> bool:
        """Whether all blocks are there.

        Raises:
            ValueError: one has another size.
        """
        return all(block.is_there for block in self.blocks)

    def allocate(self) -> None:
        """Begin with zeros, in files that are not there yet.

        Raises:
            OSError: there is no room for them.
        """
        for block in self.blocks:
            block.allocate()

    def read(self, indices: Sequence[int]) -> Tensor:
        """Read the perturbations of some samples, floats (B, C, H, W)."""
        wanted = torch.as_tensor(indices, dtype=torch.int64)
        levels = torch.empty(len(wanted), *self._shape, dtype=torch.int16)
        number = wanted // self._size
        for each in number.unique().tolist():
            levels[number == each] = self.blocks[each].levels()[wanted[number == each] - each * self._size]
        return levels.float() * self._unit

    def own(self, ranks: Ranks) -> list[PixelBlock]:
        """Return the blocks that a rank takes first."""
        return self.blocks[ranks.rank :: ranks.size]

    def taken(self, ranks: Ranks = ALONE) -> Iterator[PixelBlock]:
        """Yield the blocks of this rank, and then those of others, each while no other process has it."""
        own = self.own(ranks)
        # Others go through theirs from the front.
        left = own + [block for block in reversed(self.blocks) if block not in own]
        while left:
            busy = []
            for block in left:
                try:
                    with block.alone():
                        yield block
                        if ranks.size > 1:
                            # For those on other machines.
                            block.flush()
                except BlockingIOError:
                    busy.append(block)
            if busy == left:
                time.sleep(POLL)
            left = busy


class PixelBlock:
    """The perturbations of samples that lie side by side.

    In a folder, a batch is first noted in a file that is replaced as a whole, and then written in place. If the process is
    killed at any point, the noted batch is written again, and no other batch is in doubt.

    Args:
        number: Number of the block.
        indices: The samples.
        shape: Shape (C, H, W) of each perturbation.
        unit: What a stored value is to be multiplied with.
        folder: Folder of the file, which is mapped into memory. None keeps everything in memory.

    Attributes:
        number: Number of the block.
        indices: The samples.
    """

    def __init__(self, number: int, indices: range, shape: tuple[int, int, int], unit: float, folder: Path | None) -> None:
        self.number, self.indices, self._shape, self._unit = number, indices, (len(indices), *shape), unit
        self._path = None if folder is None else folder / f"{number:06d}.bin"
        self._bytes = math.prod(self._shape) * torch.int16.itemsize
        self._memory = torch.zeros(self._shape, dtype=torch.int16) if self._path is None else None

    @property
    def is_there(self) -> bool:
        """Whether the file is there.

        Raises:
            ValueError: it has another size.
        """
        try:
            found = os.stat(self._path or "").st_size
        except FileNotFoundError:
            return False
        if self._path is not None and found != self._bytes:
            fault = f"{self._path.name} has {found} bytes, expected {self._bytes}"
            raise ValueError(f"path: {self._path.parent} is damaged and cannot be resumed ({fault}); delete it")
        return True

    def allocate(self) -> None:
        """Begin with zeros, in a file that is not there yet.

        Raises:
            OSError: there is no room for it.
        """
        if self._path is not None:
            _allocate(self._path, self._bytes)

    def alone(self) -> AbstractContextManager[None]:
        """Be the only process that writes the block in this context.

        Raises:
            BlockingIOError: another one does.
        """
        return sole_owner(self._path, argument="path")

    def levels(self) -> Tensor:
        """Return the stored values (B, C, H, W), as they are now. What is written to them is stored."""
        if self._memory is not None:
            return self._memory
        # Mapped anew each time, because another machine may have changed the file.
        size = math.prod(self._shape)
        return torch.from_file(str(self._path), shared=True, size=size, dtype=torch.int16).view(self._shape)

    def write(self, delta: Tensor, *, round: int, start: int, beside: Mapping[str, Any] | None = None) -> None:
        """Replace the perturbations of the next samples of this round, from ``start`` on. Note what is given beside them."""
        levels = (delta.float() / self._unit).round().clamp(-_LARGEST, _LARGEST).to(torch.int16)
        self.flush()
        self._note.save({**(beside or {}), "round": round, "start": start, "levels": levels})
        first = start - self.indices.start
        self.levels()[first : first + len(levels)] = levels

    def resume(self, round: int, take_up: Callable[[dict[str, Any]], object] = lambda beside: None) -> int:
        """Repair what an interrupted call left. Returns the first sample that has not been through this round.

        Args:
            round: The round.
            take_up: Takes what was noted beside the last batch of this round, if there is one.

        Raises:
            ValueError: the note is damaged.
        """
        note = self._note
        state = note.load()
        if state is None:
            return self.indices.start
        with note.taking_up():
            last, levels = count_in(state, "round"), state["levels"]
            if last > round:
                # Another rank is further on.
                return self.indices.stop
            start = count_in(state, "start", minimum=self.indices.start)
            first = start - self.indices.start
            own = self.levels()[first : first + len(levels)]
            if levels.shape != own.shape or levels.dtype != own.dtype:
                raise ValueError(f"levels has the shape {tuple(levels.shape)} at image {start}, expected {tuple(own.shape)}")
            own[:] = levels
            if last < round:
                return self.indices.start
            take_up(state)
            return start + len(levels)

    @property
    def _note(self) -> Checkpoint:
        """The batch that was written last."""
        # So named, its drafts are removed with those of the file.
        return Checkpoint(None if self._path is None else self._path.with_name(f"{self._path.name}.note"), {})

    def flush(self) -> None:
        """Write what is in memory to the disk. It must be there before the note that could repair it is replaced."""
        if self._path is not None:
            with self._path.open("r+b") as file:
                os.fsync(file.fileno())


def _allocate(path: Path, size: int) -> None:
    """Make a file of zeros, with blocks on the disk. Writing to a map without blocks can kill the process.

    Raises:
        OSError: the disk has no room.
    """
    try:
        with open(path, "xb", opener=private) as file:
            if not _reserved(file.fileno(), size):
                for start in range(0, size, _CHUNK):
                    file.write(bytes(min(_CHUNK, size - start)))
    except OSError:
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
