"""The command line in a process of its own: protect, a Ctrl-C and a repetition, verify, preview, audit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mtlue.datasets import ImageTable
from photos import write_photos

COMMAND = [sys.executable, "-m", "mtlue"]
# Sums differ with the number of threads.
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
PROTECT = ["protect", "photos", "--labels", "photos.csv", "--loss", "em", "--device", "cpu", "--tasks", "lit"]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *words], cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Processes that are started can be interrupted, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_from_a_folder_to_a_published_folder_with_a_report(tmp_path: Path) -> None:
    write_photos(tmp_path, "photos", side=12)
    write_photos(tmp_path, "test", count=6, seed=1, side=12)
    # Enough epochs that the signal finds the command at work.
    long = [*PROTECT, "--epochs", "40", "--out", "safe", "--key", "key.pt"]

    # Ctrl-C after the first epoch.
    told = []
    with subprocess.Popen(
        [*COMMAND, *long], cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as first:
        assert first.stderr is not None
        for line in first.stderr:
            told.append(line)
            if line.startswith("fit: epoch 1 "):
                first.send_signal(signal.SIGINT)
    assert first.returncode == 130, told
    assert told[-1] == "mtlue: interrupted; repeat the command to go on where it stopped\n"
    assert not (tmp_path / "safe").exists()

    done = run(tmp_path, *long)
    assert done.returncode in {0, 1}, done.stderr
    assert "going on after epoch 1" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "safe.partial").exists()
    whole = run(tmp_path, *PROTECT, "--epochs", "40", "--out", "whole")
    assert whole.returncode == done.returncode
    pairs = zip(ImageTable(tmp_path / "safe"), ImageTable(tmp_path / "whole"), strict=True)
    assert all((one == other).all() for (one, _), (other, _) in pairs)

    assert run(tmp_path, "verify", "safe").returncode == 0
    picture = run(tmp_path, "preview", "photos", "safe", "--labels", "photos.csv", "--out", "picture.png", "--count", "2")
    assert picture.returncode == 0, picture.stderr
    sets = ["photos", "safe", "--labels", "photos.csv", "--test", "test", "--test-labels", "test.csv"]
    audit = run(tmp_path, "audit", *sets, "--epochs", "1", "--device", "cpu", "--report", "report.html")
    assert audit.returncode in {0, 1}, audit.stderr
    assert (tmp_path / "report.html").read_text().startswith("<!DOCTYPE html>")
