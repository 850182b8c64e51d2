"""The folder to which a call with a path streams protected images: shards of raw bytes, with a manifest."""

from __future__ import annotations

import itertools
import json
import logging
import os
import shutil
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from torch import Tensor

from mtlue._formats.images import ImageSink, Portion
from mtlue._formats.manifest import Fields, file_fault, signed, size_fault
from mtlue._formats.shard_writer import Noted, ShardWriter, note_of
from mtlue._formats.stored_images import FORMAT, MANIFEST, SETTINGS, SHARD, StoredImages
from mtlue._formats.work_folder import POLL, WorkFolder
from mtlue._runtime import sole_owner, write_bytes

#: Images in a shard, or a little fewer: it holds whole batches.
_SHARD_SIZE = 4096
#: The folder of unfinished shards, and the file in it with the size of a batch.
_SHARDS, _PLAN = "shards", "plan.json"
#: The folder, inside that of an unfinished store, that gets the final name.
_READY = "ready"

logger = logging.getLogger("mtlue.protect")


class StoreWriter(ImageSink):
    """Writes images into shards, so that a killed process loses at most one batch.

    Each process takes the shards of its rank, and then others that are missing and that no living process writes. They need not
    talk to each other, and there may be fewer or more of them when an interrupted call is repeated.

    Args:
        folders: Where to write, which is made if needed, and where the store will be. If an earlier process has written there,
            writing resumes after its last batch.
        length: Number of images of the set.
        shape: Shape of all images, or None if they differ.
        batch_size: Samples in a batch, unless another process has begun with another size.
        manifest: What the manifest states besides the entries of its files.

    Raises:
        ValueError: a file of an earlier process is damaged.
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
        self.folders, self.folder, self.shape, self.manifest = folders, folders.work / _SHARDS, shape, manifest
        self._finished, self._open, self._call = set[int](), deque[ShardWriter](), folders.call()
        super().__init__(length, batch_size)
        if not self._is_out:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.batch_size = self._planned(batch_size)
        # Whole batches: their size must not depend on which shards a process makes.
        self._size = self.batch_size * max(1, _SHARD_SIZE // self.batch_size)
        self._all = range(-(-length // self._size))
        self.count = length if self._is_out else sum(self._noted(each, whole=each in self._own) for each in self._all)
        if self.count < length:
            done = f"going on after {self.count} of" if self.count else "streaming"
            where = "in" if self.count else "to"
            logger.info("protect: %s %d images%s %s", done, length, "," if self.count else "", f"{where} {folders.work}")

    @property
    def _is_out(self) -> bool:
        return self.folders.is_out(self._call)

    def _planned(self, batch_size: int) -> int:
        """Return the size of a batch that whoever comes first has noted."""
        plan = self.folder / _PLAN
        while not plan.exists():
            with suppress(BlockingIOError), sole_owner(plan, argument="path"):
                if not plan.exists():
                    write_bytes(json.dumps({"batch_size": batch_size}).encode(), plan)
        try:
            return max(Fields.read(plan).count("batch_size"), 1)
        except ValueError as error:
            raise self.folders.damaged(error) from None

    def _indices(self, number: int) -> range:
        return range(number * self._size, min((number + 1) * self._size, self.length))

    def _noted(self, number: int, *, whole: bool = False) -> int:
        """Return how many images of a shard are there.

        Args:
            number: Number of the shard.
            whole: Whether to read a finished shard, and not only its size.

        Raises:
            ValueError: the note of the shard is damaged, or a finished shard is.
        """
        if number in self._finished:
            return len(self._indices(number))
        try:
            noted = Noted.read(note_of(self.folder, number))
            if noted.count == len(self._indices(number)):
                self._check(noted, whole=whole)
                self._finished.add(number)
        except ValueError as error:
            raise self.folders.damaged(error) from None
        return noted.count

    def _check(self, noted: Noted, *, whole: bool) -> None:
        """Check the files of a finished shard against its note.

        Raises:
            ValueError: one is missing, truncated or was changed.
        """
        for name, expected in noted.files.items():
            fault: str | None = f"{name} is missing"
            # In the order in which the first rank moves it from one to the next, perhaps just now.
            for folder in (self.folder, self.folders.work / _READY, self.folders.final):
                if fault is not None and (folder / name).exists():
                    with suppress(FileNotFoundError):
                        fault = (
                            file_fault(folder / name, name, expected) if whole else size_fault(folder / name, name, expected[0])
                        )
            if fault is not None:
                raise ValueError(fault)

    def _missing(self, numbers: Sequence[int]) -> list[int]:
        return [number for number in numbers if self._noted(number) < len(self._indices(number))]

    @property
    def _own(self) -> range:
        return self._all[self.folders.ranks.rank :: self.folders.ranks.size]

    def portions(self) -> Iterator[Portion]:
        """Yield the images of the shards of this rank, and then what other ranks leave undone."""
        own = self._own
        # Others go through their shards from the front. The last one may be short, and no batch has images of two.
        every = [*self._all[-2::-1], *self._all[-1:]]
        for numbers in itertools.chain([own], itertools.repeat(every)):
            if self._is_out:
                break
            missing = self._missing(numbers)
            if not missing and numbers is not own:
                break
            # Shards are taken one by one, as their images are asked for.
            taken = (shard for shard in map(self._take, missing) if shard is not None)
            first = next(taken, None)
            if first is not None:
                images = sum(len(self._indices(number)) for number in numbers)
                done = images - sum(len(self._indices(number)) for number in missing) + first.count
                indices = itertools.chain.from_iterable(shard.left for shard in itertools.chain([first], taken))
                yield Portion(indices, done, images)
                if self._open:
                    raise self.too_few()
            elif numbers is not own:
                # Living processes write the rest.
                time.sleep(POLL)

    def _take(self, number: int) -> ShardWriter | None:
        shard = ShardWriter(self.folder, number, self._indices(number), self.shape)
        try:
            if not shard.take():
                return None
        except ValueError as error:
            raise self.folders.damaged(error) from None
        self._open.append(shard)
        return shard

    def append(self, images: Sequence[Tensor]) -> None:
        """Write the next images, and note that they are there."""
        self.count += len(images)
        while images:
            shard = self._open[0]
            room = len(shard.left)
            shard.append(images[:room])
            images = images[room:]
            if not shard.left:
                self._open.popleft().close()

    def close(self) -> None:
        """Close the files. What was noted stays."""
        while self._open:
            self._open.popleft().close()

    def finish(self) -> StoredImages:
        """Give a folder with the images and their manifest the final name in one step, and then remove the rest.

        The finished folder holds the protected images and what is needed to read them, and nothing else. Ranks other than the
        first wait for that.

        Raises:
            OSError: the folder cannot get its name. Nothing is lost.
        """
        self.close()
        if self.folders.ranks.rank:
            self.folders.wait_for_main(lambda: self._is_out)
            return StoredImages(self.folders.final)
        if not self.folders.is_published:
            self._publish()
        images = StoredImages(self.folders.final)
        logger.info("protect: finished %s, %d images", self.folders.final, self.length)
        # The generator is removed too. The settings go last, because a call repeated after a kill is recognised by them.
        self.folders.remove(last=(MANIFEST, SETTINGS))
        return images

    def _publish(self) -> None:
        files: dict[str, dict[str, Any]] = {}
        for number in self._all:
            noted = Noted.read(note_of(self.folder, number)).files
            files |= {name: {"bytes": size, "sha256": digest} for name, (size, digest) in noted.items()}
        content = signed({
            "format": FORMAT,
            **self._call,
            **self.manifest,
            "length": self.length,
            "shape": self.shape,
            SHARD: self._size,
            "files": files,
        })
        ready = self.folders.work / _READY
        ready.mkdir(exist_ok=True)
        for stray in [path for path in ready.iterdir() if path.name not in files]:
            shutil.rmtree(stray) if stray.is_dir() and not stray.is_symlink() else os.unlink(stray)
        # The copy that stays tells a call repeated after a kill that the finished store is its own.
        for folder in (self.folders.work, ready):
            write_bytes(json.dumps(content, indent=2).encode(), folder / MANIFEST)
        for name in files:
            if (self.folder / name).exists():
                os.replace(self.folder / name, ready / name)
        self.folders.publish(ready)
