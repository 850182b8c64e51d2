"""Calls of several ranks at once, each in a copy of this process, as `torchrun` would start them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from faults import Ended, at_once
from mtlue._formats import store
from mtlue._formats.shard_writer import ShardWriter


def environment(rank: int, size: int) -> dict[str, str]:
    """What `torchrun` tells a process."""
    return {"TORCHELASTIC_RUN_ID": "none", "RANK": str(rank), "WORLD_SIZE": str(size)}


def at_ranks(size: int, call: Callable[[int], Any], results: Path) -> tuple[list[Ended], dict[int, Any]]:
    """Call something with each rank at the same time; say how each call ended, and what those that ended well returned."""
    results.mkdir()

    def made(rank: int) -> Callable[[], None]:
        def run() -> None:
            with mock.patch.dict(os.environ, environment(rank, size)), small_shards():
                (results / str(rank)).write_text(json.dumps(call(rank)))

        return run

    ended = at_once([made(rank) for rank in range(size)])
    return ended, {int(file.name): json.loads(file.read_text()) for file in sorted(results.iterdir())}


def small_shards() -> Any:
    """Shards of eight images in this context."""
    return mock.patch.object(store, "_SHARD_SIZE", 8)


class Written:
    """Notes the images that this process writes, in this context."""

    def __init__(self) -> None:
        self.indices: list[int] = []

    def __enter__(self) -> Written:
        append = ShardWriter.append

        def noting(writer: ShardWriter, images: Any) -> None:
            self.indices += writer.left[: len(images)]
            append(writer, images)

        self._patch = mock.patch.object(ShardWriter, "append", noting)
        self._patch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.stop()
