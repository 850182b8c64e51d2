"""Files that are whole or not there, and nobody else's to read."""

from __future__ import annotations

import errno
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from mtlue._runtime.files import save_tensors


@contextmanager
def disk_of(size: int) -> Iterator[None]:
    """No file can become larger meanwhile."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_keys_and_checkpoints_are_their_owners_alone(script: Any, tmp_path: Path) -> None:
    generator, _, _ = script.fit("tap", tmp_path / "run.pt", epochs=1)
    generator.save(tmp_path / "key.pt")
    modes: dict[str, int] = {}

    def look(figures: Any) -> None:
        modes.update({file.name: mode(file) for file in (tmp_path / "store.partial").glob("*.pt")})

    script.protect("tap", tmp_path / "store", progress=look, epochs=1)
    assert [mode(tmp_path / name) for name in ("run.pt", "key.pt")] == [0o600, 0o600]
    assert modes == {"fit.pt": 0o600}
    # What is to be published is as any other file.
    (tmp_path / "any").write_text("")
    assert mode(tmp_path / "store" / "images-000000.bin") == mode(tmp_path / "any")


@pytest.mark.parametrize("size", [10, 1000, 300_000])
def test_a_full_disk_keeps_the_old_file_and_leaves_no_draft(tmp_path: Path, size: int) -> None:
    save_tensors({"weights": torch.zeros(3)}, tmp_path / "key.pt")
    before = (tmp_path / "key.pt").read_bytes()
    with disk_of(size), pytest.raises(OSError, match="File too large") as caught:
        save_tensors({"weights": torch.rand(100_000)}, tmp_path / "key.pt")
    assert caught.value.errno == errno.EFBIG
    assert os.listdir(tmp_path) == ["key.pt"]
    assert (tmp_path / "key.pt").read_bytes() == before
