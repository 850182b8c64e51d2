"""``mtlue protect --dry-run``: what was read, what would be done, and how long it takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import mtlue
from mtlue._cli.photos import _classes

EM = ("--labels", "photos.csv", "--loss", "em", "--epochs", 1, "--device", "cpu")
#: With a key no training is needed.
QUICK = ("--labels", "photos.csv", "--key", "small.pt", "--device", "cpu")
Run = Callable[..., Any]


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(run: Run) -> None:
    before = sorted(Path().rglob("*"))
    done = run("protect", "photos", *EM, "--dry-run")
    assert done.status == 0, done.err
    lines = dict(line.split(maxsplit=1) for line in done.out.splitlines() if not line.startswith("left out"))
    assert lines["photos"] == "12, in colour, 16 × 16 pixels"
    assert lines["device"] == "cpu"
    assert lines["budget"] == "8 of 255 levels a pixel"
    assert lines["runs"].startswith("fit: 12 samples, 2 tasks, EM, 1 epoch")
    assert lines["time"].startswith("about ")
    assert "left out  owner: a different value in every row" in done.out
    assert sorted(Path().rglob("*")) == before


def test_a_dry_run_times_the_surrogate_too(run: Run) -> None:
    done = run(
        "protect", "photos", "--labels", "photos.csv", "--loss", "tap", "--device", "cpu", "--batch-size", 4, "--dry-run"
    )
    assert done.status == 0, done.err
    surrogate, generator = (line for line in done.out.splitlines() if line.startswith("runs"))
    assert surrogate.startswith("runs      surrogate: 12 samples, 60 epochs")
    assert generator.startswith("runs      fit: 12 samples, 2 tasks, TAP, 60 epochs")
    assert "no better than chance" not in done.err


def test_a_dry_run_of_many_sizes(run: Run) -> None:
    Image.new("RGB", (30, 10)).save("photos/00.png")
    Image.new("RGB", (8, 10)).save("photos/01.png")
    done = run("protect", "photos", *QUICK, "--dry-run")
    assert "photos    12, in colour, 3 sizes from 8 × 10 to 30 × 10 pixels, perturbed at 16 × 16" in done.out


def test_a_dry_run_of_sep_says_what_takes_long(run: Run) -> None:
    done = run("protect", "photos", "--labels", "photos.csv", "--loss", "sep", "--device", "cpu", "--dry-run")
    assert done.status == 0, done.err
    assert "runs      a surrogate first, because SEP needs its states, then the generator" in done.out
    assert "time      about twice as long as with --loss tap" in done.out


@pytest.mark.parametrize(
    ("more", "seconds", "epochs", "advice"),
    [
        ((), 4860, 43, "--epochs 21 takes half the time and protects nearly as well; --epochs 10 protects much less"),
        (("--loss", "em"), 4860, 60, "--epochs 30 takes half the time and protects less"),
        ((), 4860, 3, "a smaller --image-size, in which the photos are then published"),
        (("--epochs", 43), 4860, 43, None),  # chosen already
        ((), 590, 43, None),  # soon done
    ],
)
def test_a_dry_run_says_how_to_save_time(
    run: Run, monkeypatch: pytest.MonkeyPatch, more: tuple[Any, ...], seconds: float, epochs: int, advice: str | None
) -> None:
    line = f"fit: 12 samples, 2 tasks, RestartedEM(distortions=[blur(3)]), {epochs} epochs, batches of 4 samples, on cpu"
    monkeypatch.setattr("mtlue._cli.dry_run._timed", lambda *arguments: ([line], seconds))
    done = run("protect", "photos", "--labels", "photos.csv", "--device", "cpu", *more, "--dry-run")
    assert done.status == 0, done.err
    assert f"runs      fit: 12 samples, 2 tasks, RestartedEM, {epochs} epochs, batches of 4 samples, on cpu\n" in done.out
    (said,) = [line.removeprefix("faster    ") for line in done.out.splitlines() if line.startswith("faster")] or [None]
    assert said == advice


@pytest.mark.parametrize(
    ("counts", "missing", "text"),
    [
        ({}, 3, "no classes"),
        ({"cat": 1, "dog": 3}, 0, "2 classes (cat 25 %, dog 75 %)"),
        ({"cat": 1, "dog": 3}, 2, "2 classes (cat 25 %, dog 75 %; 2 missing)"),
        (dict.fromkeys("abcdefghi", 1) | {"j": 11}, 0, "10 classes (the rarest 5.0 %, the most frequent 55.0 %)"),
    ],
)
def test_classes_are_told_one_by_one_where_they_are_few(counts: dict[str, int], missing: int, text: str) -> None:
    assert _classes(counts, missing) == text


def test_a_dry_run_with_a_key_says_what_the_key_does(run: Run) -> None:
    key = mtlue.UEGenerator.load("small.pt")
    wide = mtlue.UEGenerator(key.tasks, key.image_shape, width=key.width, epsilon=32 / 255)
    wide.trained = True
    wide.save("wide.pt")
    photos = ("protect", "photos", "--labels", "photos.csv", "--key", "wide.pt", "--device", "cpu")
    assert "budget    32 of 255 levels a pixel" in run(*photos, "--dry-run").out
    for options, words in (
        (("--loss", "tap"), "--key: wide.pt exists and is used as it is; leave out --loss, or name another file"),
        (("--epsilon", 8), "--key: wide.pt has a budget of 32 levels; leave out --epsilon, or name another file"),
    ):
        for end in (("--dry-run",), ("--out", "safe")):
            done = run(*photos, *options, *end)
            assert (done.status, done.err.splitlines()[-1]) == (2, f"mtlue: error: {words}")
