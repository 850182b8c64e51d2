"""What a caller sees of a long call."""

from __future__ import annotations

import builtins
import logging
import re
import sys
from typing import Any

import pytest
import torch
from torch import nn

import mtlue
from mtlue import baselines, evaluation
from mtlue._runtime import progress as module
from mtlue._runtime.progress import Progress
from optional import needs

QUIET: dict[str, Any] = {"batch_size": 16, "precision": torch.float32}


def run(option: Any, steps: int = 3) -> None:
    with Progress(option, stage="fit", total=steps, images=4 * steps) as shown:
        for step in range(steps):
            shown.step(4, {"loss": torch.tensor(0.5 * step)})


def test_a_callable_gets_the_figures_of_each_step() -> None:
    figures: list[Any] = []
    run(figures.append)
    assert [(each["step"], each["steps"], each["loss"]) for each in figures] == [(1, 3, 0.0), (2, 3, 0.5), (3, 3, 1.0)]
    assert all(type(each) is dict and each["images_per_second"] > 0 for each in figures)


def test_steps_of_an_earlier_call_count() -> None:
    figures: list[Any] = []
    with Progress(figures.append, stage="fit", total=5) as shown:
        shown.skip(3)
        shown.step(4)
    assert figures[0]["step"] == 4


def test_steps_that_are_not_made_of_images_have_no_images_per_second(caplog: pytest.LogCaptureFixture) -> None:
    figures: list[Any] = []
    for option in (figures.append, None):
        with caplog.at_level(logging.INFO, logger="mtlue"), Progress(option, stage="audit", total=1) as shown:
            shown.step(1)
    assert figures == [{"step": 1, "steps": 1}]
    assert caplog.messages == ["audit: step 1 of 1"]


def test_batches_that_were_halved_take_more_steps_than_were_planned() -> None:
    figures: list[Any] = []
    with Progress(figures.append, stage="fit", total=1, images=8) as shown:
        for _ in range(3):
            shown.step(2)
    assert [(each["step"], each["steps"]) for each in figures] == [(1, 1), (2, 2), (3, 3)]


def test_the_last_of_halved_batches_is_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="mtlue"), Progress(None, stage="fit", total=2, images=16) as shown:
        shown.skip(1, 8)
        for _ in range(4):
            shown.step(2)
    # As many steps as were planned are done after the first of them.
    assert [re.sub(r"\d+ images", "N images", line) for line in caplog.messages] == ["fit: step 5 of 5, N images/s"]


def test_fit_tells_each_step(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    figures: list[Any] = []
    settings = {"loss": mtlue.EM(), "epochs": 2, "stop_accuracy": 1.1, **QUIET}
    history = mtlue.fit(make_generator(), canvases, net, progress=figures.append, **settings)
    assert [(each["epoch"], each["step"], each["steps"]) for each in figures] == [
        (1, 1, 6),
        (1, 2, 6),
        (1, 3, 6),
        (2, 4, 6),
        (2, 5, 6),
        (2, 6, 6),
    ]
    assert all({"loss", "base_loss", "intra_er", "inter_er", "images_per_second"} <= each.keys() for each in figures)
    assert all(isinstance(value, int | float) for each in figures for value in each.values())
    for name in ("loss", "base_loss", "intra_er"):
        mean = sum(each[name] for each in figures[:3]) / 3
        assert getattr(history[0], name) == pytest.approx(mean, rel=1e-4)
    assert [each.get("surrogate_accuracy") for each in figures] == [None] * 3 + [history[0].surrogate_accuracy] * 3


def test_protect_tells_each_step_of_each_stage(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    figures: list[Any] = []
    mtlue.protect(canvases, generator=make_generator(), surrogate=net, epochs=1, progress=figures.append, **QUIET)
    assert [(each["step"], each["steps"], "base_loss" in each) for each in figures] == [
        (1, 3, True),
        (2, 3, True),
        (3, 3, True),
        (1, 3, False),
        (2, 3, False),
        (3, 3, False),
    ]


def test_false_is_silent(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        run(False)
    out, err = capfd.readouterr()
    assert (out, err, caplog.text) == ("", "", "")


def test_true_is_a_bar(capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        run(True)
    err = capfd.readouterr().err
    assert "fit: 100%" in err
    assert "12/12" in err
    assert caplog.text == ""


def last_bar(err: str) -> str:
    """What a bar showed at its end."""
    return [line for line in re.split(r"[\r\n]", err) if line.strip()][-1]


def test_the_bar_of_fit_tells_rate_time_left_losses_and_accuracy(
    canvases: Any, net: nn.Module, make_generator: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = {"loss": mtlue.EM(), "epochs": 2, "stop_accuracy": 1.1, **QUIET}
    history = mtlue.fit(make_generator(), canvases, net, progress=True, **settings)
    bar = last_bar(capfd.readouterr().err)
    assert re.match(r"fit: 100%\|.*\| 96/96 \[\d\d:\d\d<\d\d:\d\d, *[\d.]+ images/s, epoch=2, ", bar)
    number = r"[\d.e+-]+"
    names = ("loss", "base_loss", "intra_er", "inter_er", "surrogate_accuracy")
    assert re.search("epoch=2, " + ", ".join(f"{name}={number}" for name in names) + r"\]", bar)
    assert f"surrogate_accuracy={history[0].surrogate_accuracy:.4g}]" in bar


def test_every_long_call_has_a_bar(
    canvases: Any, net: nn.Module, make_generator: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    tasks, few = {"shoe": 2, "front": 2}, canvases[:16]
    safe = mtlue.protect(few, generator=make_generator(trained=True), progress=True)
    assert re.match(r"protect: 100%\|.*\| 16/16 \[.* images/s\]", last_bar(capfd.readouterr().err))
    pgd = {"tasks": tasks, "surrogate": net, "loss": mtlue.TAP(), "steps": 3, "rounds": 2, "batch_size": 8}
    baselines.pgd(few, progress=True, **pgd)
    # Two batches of eight images, six steps each.
    assert re.match(r"pgd: 100%\|.*\| 96/96 \[.* images/s, loss=.*\]", last_bar(capfd.readouterr().err))
    victim = {"tasks": tasks, "model": net, "epochs": 2, "batch_size": 8}
    evaluation.train_victim(few, progress=True, **victim)
    bar = last_bar(capfd.readouterr().err)
    assert re.match(r"victim: 100%\|.*\| 32/32 \[.* images/s, epoch=2, victim_loss=.*\]", bar)
    evaluation.audit(safe, few, canvases[16:32], model=net, single_task=["shoe"], epochs=1, batch_size=8, progress=True)
    err = capfd.readouterr().err
    assert re.match(r"audit: 100%\|.*\| 6/6 \[\d\d:\d\d<\d\d:\d\d", last_bar(err))
    for what in (
        "multi-task on clean, seed 0",
        "multi-task on random noise, seed 0",
        "single-task of shoe on protected, seed 0",
    ):
        assert what in err


def test_what_an_earlier_call_has_done_does_not_count_for_the_time_left(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("tqdm", extra="progress")
    clock = [0.0]
    monkeypatch.setattr("tqdm.std.time", lambda: clock[0])
    with Progress(True, stage="fit", total=110, images=110) as shown:
        shown._bar._time = lambda: clock[0]
        shown.skip(90, 90)
        clock[0] = 10.0
        shown.step(10)
        shown._bar.refresh()
        # Ten images took ten seconds, and ten are left.
        assert "100/110 [00:10<00:10,  1.00 images/s]" in last_bar(capfd.readouterr().err)


def test_a_bar_waits_for_the_figures_of_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.time, "monotonic", lambda: 1.0)
    asked: list[int] = []

    class Figures(dict[str, float]):
        def items(self) -> Any:
            asked.append(int(self["step"]))
            return super().items()

    with Progress(True, stage="fit", total=5, images=5) as shown:
        for step in range(5):
            shown.step(1, Figures(step=step))
    assert asked == [0, 4]


def test_a_program_without_a_console_has_no_terminal(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with caplog.at_level(logging.INFO, logger="mtlue"):
        run(None)
    assert len(caplog.records) == 1


def test_left_out_in_a_terminal_is_a_bar(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    run(None)
    assert "12/12" in capfd.readouterr().err


def test_left_out_elsewhere_is_log_lines(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    with caplog.at_level(logging.INFO, logger="mtlue"):
        run(None)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("mtlue.progress", logging.INFO)
    assert record.getMessage().startswith("fit: step 3 of 3, ")
    assert record.getMessage().endswith(" images/s, loss 1")
    assert "12/12" not in capfd.readouterr().err


@pytest.mark.parametrize("option", [None, True])
def test_without_tqdm_there_are_log_lines(
    option: Any, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = builtins.__import__

    def without_tqdm(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("tqdm"):
            raise ImportError(name)
        return load(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_tqdm)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with caplog.at_level(logging.INFO, logger="mtlue"):
        run(option)
    assert [record.name for record in caplog.records] == ["mtlue.progress"]


def test_long_runs_log_now_and_then(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10000, 4))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    with caplog.at_level(logging.INFO, logger="mtlue"):
        run(None, steps=10)
    lines = [record.getMessage().split(",")[0] for record in caplog.records]
    # Said once, after the first step that can be timed.
    assert lines.pop(0) == "fit: about 32 s to go"
    # A step takes 4 seconds: every third one is 12 seconds after the last line.
    assert lines == [f"fit: step {step} of 10" for step in (3, 6, 9, 10)]


def test_a_run_of_hours_is_warned_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10**6, 50))
    monkeypatch.setattr(module.time, "monotonic", lambda: float(next(clock)))
    with pytest.warns(
        UserWarning, match="^fit: about 7 h to go; for less, take fewer epochs, smaller images or a GPU$"
    ) as caught:
        run(False, steps=500)
    assert len(caught) == 1


def test_an_error_of_the_callable_ends_the_call(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    def stop(figures: Any) -> None:
        raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        mtlue.fit(make_generator(), canvases, net, loss=mtlue.TAP(), epochs=1, progress=stop, **QUIET)
    assert all(p.requires_grad for p in net.parameters())
