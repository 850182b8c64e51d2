"""``mtlue audit``, ``verify`` and ``preview``, and what the commands have in common."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from mtlue import evaluation
from mtlue._cli import audit, main, verify
from mtlue._runtime import warn
from page import Page

Run = Callable[..., Any]
SETS = ("photos", "safe", "--labels", "photos.csv", "--test", "test", "--test-labels", "test.csv", "--device", "cpu")


@pytest.fixture
def safe(run: Run) -> Run:
    """Runs a command where a protected folder is, too."""
    done = run("protect", "photos", "--labels", "photos.csv", "--key", "small.pt", "--device", "cpu", "--out", "safe")
    assert done.status == 0, done.err
    return run


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Victims are linear; how `audit` is called."""
    calls, original = [], evaluation.audit

    def call(*sets: Any, **settings: Any) -> Any:
        calls.append((sets, dict(settings)))
        settings["model"] = lambda tasks: torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(768, sum(task.num_classes for task in tasks.values())), Split(tasks)
        )
        return original(*sets, **settings)

    monkeypatch.setattr(audit.evaluation, "audit", call)
    return calls


class Split(torch.nn.Module):
    """Logits of all classes, by task."""

    def __init__(self, tasks: Any) -> None:
        super().__init__()
        self.sizes = {name: task.num_classes for name, task in tasks.items()}

    def forward(self, logits: torch.Tensor) -> dict[str, torch.Tensor]:
        return dict(zip(self.sizes, logits.split(list(self.sizes.values()), dim=1), strict=True))


def test_an_audit_in_words_and_as_a_page(safe: Run, small: list[Any]) -> None:
    words = ("--epochs", 2, "--defense", "jpeg", "--defense", "grayscale", "--seeds", 0, 1, "--multi-task-only")
    done = safe("audit", *SETS, *words, "--report", "report.html")
    # What six photos of noise teach is nothing.
    assert done.status == 1, done.err
    assert "multi-task   jpeg       pet" in re.sub(" +", " ", done.out).replace(
        "multi-task jpeg pet", "multi-task   jpeg       pet"
    )
    assert re.search(r"^(Protected|Weakly protected|Not protected|Not measured), because .*\.$", done.out, re.M)
    page = Page(Path("report.html").read_text())
    assert "Image 0: PSNR" in page.text
    (protected, clean, test), settings = small[0]
    assert (len(protected), len(clean), len(test)) == (12, 12, 6)
    assert list(clean.tasks) == ["pet", "lit"]
    assert protected[4][1] == clean[4][1]
    assert 0 < float((255 * (protected[4][0] - clean[4][0])).abs().max()) <= 8.01
    assert (settings["seeds"], settings["epochs"], settings["single_task"]) == ([0, 1], 2, [])
    assert len(settings["defenses"]) == 2


@pytest.mark.parametrize(
    ("word", "status"), [("protected", 0), ("weakly protected", 0), ("not protected", 1), ("not measured", 1)]
)
def test_the_status_is_that_of_the_verdict(safe: Run, monkeypatch: pytest.MonkeyPatch, word: str, status: int) -> None:
    report = evaluation.Report({}, 8 / 255, [])
    monkeypatch.setattr(evaluation.Report, "verdict", evaluation.Verdict(word, "so it is"))
    monkeypatch.setattr(audit.evaluation, "audit", lambda *_, **__: report)
    done = safe("audit", *SETS, "--report", "report.json")
    assert done.status == status
    assert f"{word.capitalize()}, because so it is." in done.out
    assert json.loads(Path("report.json").read_text())["measurements"] == []


def test_an_audit_that_was_interrupted_goes_on(safe: Run, small: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("audit", *SETS, "--epochs", 1, "--multi-task-only", "--report", "report.json")
    run, trained = evaluation._audit.run_training, []

    def stopped(training: Any, *arguments: Any) -> Any:
        trained.append(training.data)
        if len(trained) == 2:
            raise KeyboardInterrupt
        return run(training, *arguments)

    monkeypatch.setattr(evaluation._audit, "run_training", stopped)
    done = safe(*words)
    assert (done.status, "repeat the command to go on where it stopped" in done.err) == (130, True)
    assert not Path("report.json").exists()
    done = safe(*words[:-4], 2, *words[-3:])
    said = "--report: report.json.partial was left by a command with another epochs; repeat that, or delete it"
    assert (done.status, said in done.err) == (2, True)
    assert safe(*words).status == 1
    assert trained == ["clean", "random noise", "random noise", "protected"]
    resumed = json.loads(Path("report.json").read_text())
    assert not Path("report.json.partial").exists()
    assert safe(*words).status == 1
    assert json.loads(Path("report.json").read_text()) == resumed
    assert len(trained) == 4 + 3


def test_a_report_without_a_place_is_told_before_anything_is_trained(safe: Run, small: list[Any]) -> None:
    done = safe("audit", *SETS, "--report", "nowhere/report.html")
    assert (done.status, "--report: the folder nowhere does not exist; make it first" in done.err, small) == (2, True, [])


def test_a_folder_that_was_made_from_other_photos(safe: Run, small: list[Any]) -> None:
    Path("photos.csv").write_text(Path("photos.csv").read_text().rsplit("\n", 2)[0] + "\n")
    assert "FOLDER: safe has 12 images, and" in safe("audit", *SETS).err
    assert (
        "--report: expected a name that ends in .html, .json, .md, got report.pdf"
        in safe("audit", *SETS, "--report", "report.pdf").err
    )
    assert safe("audit", "photos", "safe").status == 2


def test_a_picture(safe: Run) -> None:
    done = safe("preview", "photos", "safe", "--labels", "photos.csv", "--out", "picture.png", "--images", 1, 7)
    assert done.status == 0, done.err
    assert re.fullmatch(r"(image [17]: PSNR 3\d\.\d dB, SSIM 0\.\d{3}\n){2}picture\.png: 2 photos\n", done.out)
    with Image.open("picture.png") as picture:
        assert picture.width > 300
    # The table is beside the folder under the name that it usually has.
    Path("photos.csv").rename("labels.csv")
    assert "picture.png: 6 photos" in safe("preview", "photos", "safe", "--out", "picture.png").out


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        ("picture.doc", "--out: expected a name that ends in .png, .jpg, .jpeg, .pdf, .svg, got picture.doc"),
        ("nowhere/picture.png", "--out: the folder nowhere does not exist; make it first"),
    ],
)
def test_a_picture_that_cannot_be_written_is_refused_first(safe: Run, picture: str, message: str) -> None:
    done = safe("preview", "photos", "safe", "--labels", "photos.csv", "--out", picture)
    assert (done.status, done.out, done.err) == (2, "", f"mtlue: error: {message}\n")


def test_a_picture_of_a_strong_protection(run: Run) -> None:
    done = run("protect", "photos", *SETS[2:4], *SETS[-2:], "--loss", "em", "--epochs", 1, "--epsilon", 100, "--out", "strong")
    assert done.status == 0, done.err
    assert run("preview", "photos", "strong", "--labels", "photos.csv", "--out", "picture.png").status == 0


def test_a_folder_without_a_table_is_not_looked_for_elsewhere(safe: Run) -> None:
    Path("photos.csv").rename("labels.csv")
    Path("safe/labels.csv").unlink()
    done = safe("preview", "photos", "safe", "--labels", "labels.csv", "--out", "picture.png")
    assert (done.status, "FOLDER: safe holds no labels.csv" in done.err) == (2, True)


def test_a_picture_of_other_photos_is_refused(safe: Run) -> None:
    words = ("preview", "photos", "safe", "--labels", "photos.csv", "--out", "picture.png")
    assert "--images: expected numbers from 0 to 11, got 12" in safe(*words, "--images", 12).err
    Image.new("RGB", (16, 16)).save("photos/00.png")
    done = safe(*words)
    assert (done.status, "photo 0 is not the one that was protected" in done.err) == (2, True)
    assert not Path("picture.png").exists()


def test_a_missing_library_is_named_with_the_line_that_installs_it(safe: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchmetrics.functional.image", None)
    done = safe("preview", "photos", "safe", "--labels", "photos.csv", "--out", "picture.png")
    assert (done.status, 'pip install "mtlue[evaluation]"' in done.err) == (2, True)


def test_a_folder_is_verified(safe: Run) -> None:
    done = safe("verify", "safe")
    assert (done.status, "safe: intact, 12 photos" in done.out) == (0, True)
    next(Path("safe/images").iterdir()).unlink()
    done = safe("verify", "safe")
    assert (done.status, done.err.startswith("mtlue: not intact: ")) == (1, True)
    done = safe("verify", "nowhere")
    assert (done.status, done.err) == (2, "mtlue: error: nowhere is not a folder; name a protected folder\n")


def test_no_command_is_wrong_usage(run: Run) -> None:
    assert run().status == 2
    assert run("publish").status == 2
    done = run("protect", "photos", "--epochs", "none")
    assert (done.status, done.err) == (
        2,
        "mtlue protect: error: argument --epochs: expected a whole number from 1 on, got 'none'; "
        "mtlue protect --help lists what there is\n",
    )
    assert run("--version").out.startswith("mtlue ")
    for command in ("protect", "audit", "verify", "preview"):
        assert run(command, "--help").status == 0


def test_warnings_are_lines_and_ctrl_c_has_its_status(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def warned(_: Any) -> str:
        warn("epsilon: less than a level")
        raise KeyboardInterrupt

    monkeypatch.setattr(verify.mtlue, "verify", warned)
    done = run("verify", "photos")
    assert (done.status, done.err) == (130, "mtlue: warning: epsilon: less than a level\nmtlue: interrupted\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert warnings.showwarning.__module__ == "warnings"


def test_a_training_that_diverges_is_not_called_a_bad_protection(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def diverges(_: Any) -> Any:
        raise RuntimeError("fit: the loss is no longer finite")

    monkeypatch.setattr(verify.mtlue, "verify", diverges)
    done = run("verify", "photos")
    assert (done.status, done.err) == (2, "mtlue: error: fit: the loss is no longer finite\n")


def test_a_fault_of_the_program_itself_is_not_hidden(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify.mtlue, "verify", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        main(["verify", "photos"])
