"""``mtlue protect``: from a folder and a table to a folder to publish."""

from __future__ import annotations

import re
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mtlue
from mtlue.datasets import ImageTable
from protect_calls import ReachedError, noting

EM = ("--labels", "photos.csv", "--loss", "em", "--epochs", 1, "--device", "cpu")
#: With a key no training is needed.
QUICK = ("--labels", "photos.csv", "--key", "small.pt", "--device", "cpu")
Run = Callable[..., Any]


def test_a_folder_and_a_table_in_and_a_folder_to_publish_out(run: Run) -> None:
    done = run("protect", "photos", *EM, "--out", "safe", "--key", "key.pt")
    assert done.status == 0, done.err
    clean = ImageTable("photos", table=Path("photos.csv").absolute(), tasks=["pet", "lit"])
    safe = ImageTable("safe")
    assert (safe.tasks, safe.classes) == (clean.tasks, {"pet": ["cat", "dog", "newt"]})
    for (before, wanted), (after, found) in zip(clean, safe, strict=True):
        assert found == wanted
        assert 0 < (255 * (after - before)).abs().round().max() <= 8
    made = {path.name for path in Path().iterdir()} - {"photos", "photos.csv", "small.pt", "test", "test.csv"}
    assert made == {"key.pt", "safe"}
    assert stat.S_IMODE(Path("key.pt").stat().st_mode) == 0o600
    assert "task      pet: 3 classes (cat 33 %, dog 33 %, newt 33 %)" in done.out
    assert "left out  owner: a different value in every row" in done.out
    assert "left out  camera: one class, 'X100'" in done.out
    assert "safe: 12 protected photos" in done.out
    assert "key.pt: the key, which can undo the protection" in done.out


def test_a_key_that_is_there_protects_without_a_training(run: Run) -> None:
    key = Path("small.pt").read_bytes()
    done = run("protect", "photos", *QUICK, "--out", "safe")
    assert done.status == 0, done.err
    assert "fit:" not in done.err
    assert Path("small.pt").read_bytes() == key
    clean = ImageTable("photos", table=Path("photos.csv").absolute(), tasks=["pet", "lit"])
    generator = mtlue.UEGenerator.load("small.pt")
    expected = mtlue.protect(clean, generator=generator, progress=False, device="cpu")
    assert all(torch.equal(image, after) for (image, _), (after, _) in zip(ImageTable("safe"), expected, strict=True))


def test_a_private_table_says_which_photo_became_which_file(run: Run) -> None:
    done = run("protect", "photos", *QUICK, "--out", "safe", "--names", "names.csv")
    assert done.status == 0, done.err
    photos = [line.partition(",")[0] for line in Path("photos.csv").read_text().splitlines()[1:]]
    rows = [line.split(",") for line in Path("names.csv").read_text().splitlines()[1:]]
    assert rows == [[f"images/{index:06d}.png", photo, str(index)] for index, photo in enumerate(photos)]
    assert stat.S_IMODE(Path("names.csv").stat().st_mode) == 0o600
    assert "names.csv: which photo became which file; keep it to yourself" in done.out
    assert "protected" in Path("safe/README.md").read_text()


def test_a_table_of_names_is_neither_published_nor_written_over(run: Run) -> None:
    done = run("protect", "photos", *QUICK, "--out", "safe", "--names", "safe/names.csv")
    assert (done.status, done.err) == (
        2,
        "mtlue: error: --names: safe/names.csv would be published with safe; keep it elsewhere\n",
    )
    Path("names.csv").write_text("mine")
    done = run("protect", "photos", *QUICK, "--out", "safe", "--names", "names.csv")
    assert done.status == 2
    assert done.err.endswith("mtlue: error: --names: names.csv exists; choose another file\n")
    assert (Path("names.csv").read_text(), Path("safe").exists()) == ("mine", False)


def with_check(verdict: dict[str, str]) -> Callable[..., Any]:
    """`mtlue.protect`, and a check of its result with a given verdict."""
    protect, given = mtlue.protect, verdict

    class Made:
        verdict = given

        def __str__(self) -> str:
            return "pet is learned: 0.90 ± 0.12"

    def checked(*arguments: Any, **settings: Any) -> Any:
        protected: Any = protect(*arguments, **settings)
        protected.check = Made()
        return protected

    return checked


def test_a_check_that_fails_is_told_by_the_status(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mtlue, "protect", with_check({"pet": "not protected", "lit": "protected"}))
    done = run("protect", "photos", *QUICK, "--out", "safe")
    assert done.status == 1
    assert "pet is learned: 0.90 ± 0.12\nR: what is still learned, as a share of what clean photos teach" in done.out
    assert "safe: 12 photos and their labels, not protected well enough to publish" in done.out
    assert Path("safe/labels.csv").is_file()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (QUICK, "with a larger --epsilon, or with fewer --tasks, to a new folder and with a new key"),
        ((*EM, "--tasks", "pet"), "without --loss, or with more --epochs, or with a larger --epsilon, to a new folder"),
    ],
)
def test_only_what_can_help_is_advised(run: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[Any, ...], words: str) -> None:
    monkeypatch.setattr(mtlue, "protect", with_check({"pet": "not protected"}))
    done = run("protect", "photos", *options, "--out", "safe")
    assert f"\ntry again {words}; mtlue audit measures the protection in full\n" in done.out


@pytest.mark.parametrize(
    ("verdicts", "options", "words"),
    [
        (("weakly protected", "cannot tell"), [], "ready to publish; it took"),
        (("cannot tell", "cannot tell"), [], "how well is not known, so run mtlue audit before you publish; it took"),
        (("protected", "protected"), ["--no-check"], "how well is not known, so run mtlue audit before you publish; it took"),
    ],
)
def test_what_no_check_has_shown_is_not_called_ready(
    run: Run, monkeypatch: pytest.MonkeyPatch, verdicts: tuple[str, str], options: list[str], words: str
) -> None:
    monkeypatch.setattr(mtlue, "protect", with_check(dict(zip(("pet", "lit"), verdicts, strict=True))))
    done = run("protect", "photos", *QUICK, "--out", "safe", *options)
    assert done.status == 0
    assert words in done.out


def test_options_are_handed_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(mtlue, "protect", noting(given))
    with pytest.raises(ReachedError):
        run("protect", "photos", *EM, "--out", "safe", "--no-check", "--epsilon", 4, "--seed", 3, "--batch-size", 5)
    assert isinstance(given[0].pop("loss"), mtlue.EM)
    assert given[0] == {
        "check": False, "epsilon": 4 / 255, "epochs": 1, "seed": 3, "batch_size": 5, "device": "cpu", "num_workers": 0,
        "path": Path("safe.partial/store"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "kind"),
    [("tap", mtlue.TAP), ("em", mtlue.EM), ("rem", mtlue.REM), ("tue", mtlue.TUE), ("restarted-em", mtlue.RestartedEM)],
)
def test_a_loss_has_a_name(run: Run, monkeypatch: pytest.MonkeyPatch, name: str, kind: type) -> None:
    given: list[Any] = []
    monkeypatch.setattr(mtlue, "protect", noting(given))
    with pytest.raises(ReachedError):
        run("protect", "photos", "--labels", "photos.csv", "--out", "safe", "--loss", name)
    assert type(given[0]["loss"]) is kind


def test_options_choose_columns_and_sizes(run: Run) -> None:
    done = run("protect", "photos", *EM, "--out", "safe", "--tasks", "lit", "--image-size", "12x14", "--channels", 1)
    assert done.status == 0, done.err
    safe = ImageTable("safe")
    assert list(safe.tasks) == ["lit"]
    assert safe[0][0].shape == (1, 12, 14)
    assert "left out  pet: not named by --tasks" in done.out


WRONG = [
    (["protect", "nowhere", "--out", "safe"], "nowhere is not a folder; name the folder with the photos"),
    (
        ["protect", "photos", "--out", "safe"],
        "found no table of labels at .*photos.labels.csv or .*labels.csv; name a CSV file .* --labels FILE",
    ),
    (["protect", "photos", "--labels", "no.csv", "--out", "safe"], "found no table of labels at .*no.csv or .*photos.no.csv"),
    (["protect", "photos", "--labels", "photos.csv"], "--out: name the folder to write"),
    (["protect", "photos", *QUICK, "--out", "photos"], "--out: photos exists and is not empty"),
    (["protect", "photos", *QUICK, "--out", "safe", "--tasks", "height"], "has no column of labels 'height'"),
    (["protect", "photos", *QUICK, "--out", "safe", "--key", "safe/key.pt"], "--key: safe.key.pt would be published with safe"),
    (["protect", "photos", *QUICK, "--out", "safe", "--key", "no/key.pt"], "--key: make the folder first: no"),
    (["protect", "photos", *QUICK, "--out", "safe", "--loss", "em"], "--key: small.pt exists and is used"),
    (["protect", "photos", *QUICK, "--out", "safe", "--device", "abacus"], "abacus"),
    (
        ["protect", "photos", *QUICK, "--out", "safe", "--epsilon", "0"],
        "--epsilon: expected a number of levels out of 255, such as 8, got '0'",
    ),
    (
        ["protect", "photos", *QUICK, "--out", "safe", "--epsilon", "x"],
        "--epsilon: expected a number of levels out of 255, such as 8, got 'x'",
    ),
    (["protect", "photos", *QUICK, "--out", "safe", "--epochs", "-1"], "--epochs: expected a whole number from 1 on, got '-1'"),
    (["protect", "photos", *QUICK, "--out", "safe", "--image-size", "1x2x3"], "--image-size: expected a size such as 128"),
    (["protect", "photos", *QUICK, "--out", "safe", "--loss", "lsp"], "--loss: invalid choice: 'lsp'"),
]


@pytest.mark.parametrize(("words", "message"), WRONG, ids=lambda value: str(value)[:60])
def test_wrong_usage_is_told_in_a_line(run: Run, words: list[str], message: str) -> None:
    done = run(*words)
    assert done.status == 2
    *_, last = done.err.splitlines()
    assert last.startswith("mtlue")
    assert "error: " in last
    assert re.search(message, last), last
    assert "Traceback" not in done.err
    assert not Path("safe").exists()
    assert not Path("safe.partial").exists()


def test_a_table_without_tasks_says_why(run: Run) -> None:
    Path("photos/labels.csv").write_text("file,name\n00.png,a\n01.png,b\n02.png,c\n03.png,d\n04.png,e\n")
    done = run("protect", "photos", "--out", "safe")
    assert done.status == 2
    assert "no column can be a task (name: a different value in every row); name columns with --tasks" in done.err
