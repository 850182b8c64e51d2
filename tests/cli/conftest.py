"""Runs commands in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import landing
import pytest

import mtlue
from mtlue._cli import main
from photos import write_photos


@dataclass
class Done:
    """What a command has left."""

    status: int
    out: str
    err: str


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    make_generator: Any,
) -> Callable[..., Done]:
    """Runs a command in an empty folder that has photos and test photos."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mtlue, "protect", landing.protect)
    write_photos(tmp_path, "photos")
    make_generator({"pet": 3, "lit": 2}, (3, 16, 16), trained=True, gain=100.0).save("small.pt")
    write_photos(tmp_path, "test", count=6, seed=1)

    def command(*words: object) -> Done:
        capsys.readouterr()
        try:
            status = main([str(word) for word in words])
        except SystemExit as stopped:  # argparse
            status = int(str(stopped.code))
        return Done(status, *capsys.readouterr())

    return command
