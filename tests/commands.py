"""Runs commands in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

import mtlue
from mtlue._cli import main
from photos import write_photos

_real = mtlue.protect


class Found:
    """What a check finds, without the time that it takes."""

    verdict: ClassVar[dict[str, str]] = {"pet": "protected", "lit": "weakly protected"}

    def __str__(self) -> str:
        return "pet  a small network"


def _protect(dataset: Any, *, check: bool = True, **settings: Any) -> Any:
    protected: Any = _real(dataset, **settings, check=False)
    protected.check = Found() if check else None
    return protected


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
    monkeypatch.setattr(mtlue, "protect", _protect)
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
