"""What the library tells the loggers under ``mtlue``, and that it prints nothing."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mtlue
from mtlue import baselines, defenses, evaluation
from mtlue._runtime.memory import BatchSize

QUIET: dict[str, Any] = {"batch_size": 16, "precision": torch.float32, "progress": False}
TASKS = {"shoe": 2, "front": 2}


@pytest.fixture(autouse=True)
def listening(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, logger="mtlue"):
        yield


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[str]]:
    """What was told to a logger since it was last asked for."""

    def since(name: str) -> list[str]:
        found = [record.getMessage() for record in caplog.records if record.name == name]
        assert all(record.levelno == logging.INFO for record in caplog.records)
        caplog.clear()
        return found

    return since


def test_fit_tells_its_start_and_each_epoch(canvases: Any, net: nn.Module, make_generator: Any, told: Any) -> None:
    history = mtlue.fit(make_generator(), canvases, net, loss=mtlue.EM(), epochs=2, stop_accuracy=1.1, **QUIET)
    start, *epochs = told("mtlue.fit")
    assert start == "fit: 48 samples, 2 tasks, EM(), 2 epochs, batches of 16 samples, on cpu in torch.float32"
    assert epochs == [
        f"fit: epoch {number} of 2: learning_rate {epoch.learning_rate:.4g}, loss {epoch.loss:.4g}, "
        f"base_loss {epoch.base_loss:.4g}, intra_er {epoch.intra_er:.4g}, inter_er {epoch.inter_er:.4g}, "
        f"surrogate_accuracy {epoch.surrogate_accuracy:.4g}, {epoch.seconds:.1f} s"
        for number, epoch in enumerate(history, start=1)
    ]


def test_without_an_accuracy_there_is_none_to_tell(canvases: Any, net: nn.Module, make_generator: Any, told: Any) -> None:
    mtlue.fit(make_generator(), canvases, net, loss=mtlue.TAP(), epochs=1, **QUIET)
    assert "accuracy" not in "".join(told("mtlue.fit"))


def test_fit_tells_that_it_goes_on(canvases: Any, net: nn.Module, make_generator: Any, told: Any, tmp_path: Path) -> None:
    def stop(figures: Any) -> None:
        if figures["epoch"] == 2:
            raise KeyboardInterrupt

    settings = {**QUIET, "loss": mtlue.TAP(), "epochs": 3, "checkpoint": tmp_path / "run.pt"}
    with pytest.raises(KeyboardInterrupt):
        mtlue.fit(make_generator(), canvases, net, **{**settings, "progress": stop})
    assert not any("going on" in line for line in told("mtlue.fit"))
    mtlue.fit(make_generator(), canvases, net, **settings)
    lines = told("mtlue.fit")
    assert lines[1] == f"fit: going on after epoch 1 of 3, from {tmp_path / 'run.pt'}"
    assert [line[:19] for line in lines[2:]] == ["fit: epoch 2 of 3: ", "fit: epoch 3 of 3: "]


@pytest.mark.filterwarnings("ignore:surrogate. it answers")
def test_fit_tells_that_it_ended_early(canvases: Any, net: nn.Module, make_generator: Any, told: Any) -> None:
    history = mtlue.fit(make_generator(), canvases, net, loss=mtlue.EM(), epochs=9, stop_accuracy=0.01, **QUIET)
    accuracy = history[-1].surrogate_accuracy
    assert told("mtlue.fit")[-1] == (
        f"fit: ended early, the surrogate's accuracy on perturbed images is {accuracy:.4g}, at least 0.01"
    )


def test_running_out_of_memory_is_told(told: Any) -> None:
    def step(part: range) -> None:
        if len(part) > 2:
            raise torch.OutOfMemoryError("full")

    list(BatchSize(4, quiet=True).run(step, range(4)))
    assert told("mtlue.memory") == ["out of memory with batches of 4 samples; going on with 2"]


def test_protect_tells_what_it_streams_and_where_it_goes_on(
    canvases: Any, make_generator: Any, told: Any, tmp_path: Path
) -> None:
    def stop(figures: Any) -> None:
        if figures["step"] == 2:
            raise KeyboardInterrupt

    settings = {**QUIET, "generator": make_generator(trained=True), "path": tmp_path / "safe", "fraction": 0.5}
    with pytest.raises(KeyboardInterrupt):
        mtlue.protect(canvases, **{**settings, "progress": stop})
    partial = tmp_path / "safe.partial"
    looked, checked, *lines = told("mtlue.protect")
    assert re.fullmatch(r"protect: looked at 24 images: \d+ % of the pixels change, by [\d.]+ of 8 levels in the mean", looked)
    assert checked == "check: there are 48 images, and the check needs 64"
    assert lines == [
        "protect: perturbing 24 of 48 images, on cpu in torch.float32",
        f"protect: streaming 48 images to {partial}",
    ]
    mtlue.protect(canvases, **settings)
    assert told("mtlue.protect")[-2:] == [
        f"protect: going on after 32 of 48 images, in {partial}",
        f"protect: finished {tmp_path / 'safe'}, 48 images",
    ]


def test_protect_tells_of_the_surrogate_that_it_trains(canvases: Any, told: Any, tmp_path: Path) -> None:
    def stop(figures: Any) -> None:
        if "base_loss" in figures:
            raise KeyboardInterrupt

    settings = {**QUIET, "tasks": TASKS, "loss": mtlue.TAP(), "epochs": 1, "path": tmp_path / "safe"}
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="no better than chance"):
            mtlue.protect(canvases[:16], **{**settings, "progress": stop})
    first, epoch, second = told("mtlue.protect")
    assert first == "surrogate: 16 samples, 1 epochs, batches of 16 samples, on cpu"
    assert epoch.startswith("surrogate: epoch 1 of 1: loss ")
    assert second == f"surrogate: going on after epoch 1 of 1, from {tmp_path / 'safe.partial' / 'surrogate.pt'}"


def test_pgd_tells_its_start_and_each_round(canvases: Any, net: nn.Module, told: Any) -> None:
    settings = {"tasks": TASKS, "surrogate": net, "steps": 2, "rounds": 2, **QUIET}
    baselines.pgd(canvases, loss=mtlue.EM(), stop_accuracy=1.1, **settings)
    start, first, second = told("mtlue.baselines")
    assert start == "pgd: 48 samples, EM(), 2 rounds of 2 steps, batches of 16 samples, on cpu in torch.float32"
    assert first.startswith("pgd: round 1 of 2, surrogate_accuracy ")
    assert second == "pgd: round 2 of 2"


def test_an_audit_tells_each_victim(canvases: Any, net: nn.Module, make_generator: Any, told: Any) -> None:
    few = canvases[:16]
    safe = mtlue.protect(few, generator=make_generator(trained=True), **QUIET)
    told("mtlue.protect")
    settings = {"model": net, "single_task": ["shoe"], "defenses": [defenses.Mixup()], "epochs": 2, **QUIET}
    report = evaluation.audit(safe, few, canvases[16:32], **settings)
    lines = told("mtlue.evaluation")
    victims = [line for line in lines if line.startswith("victim: ")]
    assert victims == [
        f"victim: 16 samples, {tasks} tasks, Uniform(){defense}, 2 epochs, batches of 16 samples, on cpu in torch.float32"
        for tasks, defense in [(2, "")] * 3 + [(1, "")] * 3 + [(2, ", Mixup(alpha=1)")] * 2
    ]
    trained = [line for line in lines if line.startswith("audit: ")]
    assert [line.split(":")[1] for line in trained] == [
        " victim 1 of 8, multi-task on clean, seed 0",
        " victim 2 of 8, multi-task on random noise, seed 0",
        " victim 3 of 8, multi-task on protected, seed 0",
        " victim 4 of 8, single-task of shoe on clean, seed 0",
        " victim 5 of 8, single-task of shoe on random noise, seed 0",
        " victim 6 of 8, single-task of shoe on protected, seed 0",
        " victim 7 of 8, multi-task on clean against Mixup, seed 0",
        " victim 8 of 8, multi-task on protected against Mixup, seed 0",
    ]
    reached = {each.task: each.last["balanced_accuracy"] for each in report.measurements[:2]}
    assert trained[0].endswith(
        f": shoe balanced accuracy {reached['shoe']:.4g}, front balanced accuracy {reached['front']:.4g}"
    )
    assert len(victims) + len(trained) == len(lines)


def test_epochs_of_a_victim_are_for_debugging(canvases: Any, net: nn.Module, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="mtlue"):
        evaluation.train_victim(canvases[:16], tasks=TASKS, model=net, epochs=2, **QUIET)
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.DEBUG]
    assert [line.split(": loss")[0] for line in lines] == ["victim: epoch 1 of 2", "victim: epoch 2 of 2"]


def test_nothing_is_printed(
    canvases: Any, net: nn.Module, make_generator: Any, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    few = canvases[:16]
    settings = {"batch_size": 8, "precision": torch.float32}
    generator = make_generator()
    mtlue.fit(generator, few, net, loss=mtlue.TAP(), epochs=1, checkpoint=tmp_path / "run.pt", **settings)
    safe = mtlue.protect(few, generator=generator, path=tmp_path / "safe", **settings)
    baselines.pgd(few, tasks=TASKS, surrogate=net, loss=mtlue.TAP(), steps=1, **settings)
    evaluation.audit(safe, few, canvases[16:32], model=net, single_task=[], epochs=1, **settings)
    assert capfd.readouterr() == ("", "")


def test_the_library_brings_no_handler_but_one_that_does_nothing() -> None:
    # In a process of its own: what collects the lines of this one is a handler too.
    script = (
        "import logging, mtlue\n"
        "import mtlue.analysis, mtlue.baselines, mtlue.datasets, mtlue.defenses, mtlue.evaluation\n"
        "names = ['mtlue', *(name for name in logging.root.manager.loggerDict if name.startswith('mtlue.'))]\n"
        "print({name: [type(each).__name__ for each in logging.getLogger(name).handlers] for name in sorted(names)})\n"
        "print(logging.root.handlers, {logging.getLogger(name).level for name in names})\n"
        "logging.getLogger('mtlue').warning('not heard')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    names = ["baselines", "evaluation", "fit", "memory", "progress", "protect"]
    handlers = {"mtlue": ["NullHandler"], **{f"mtlue.{name}": [] for name in names}}
    assert done.stdout.splitlines() == [str(handlers), "[] {0}"]
    assert done.stderr == ""
