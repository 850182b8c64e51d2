"""The generator's learning rate: the paper's schedule, or one of one's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import mtlue
from mtlue import evaluation
from mtlue._fit.schedule import paper_schedule
from snapshots import equal, snapshot

QUIET: dict[str, Any] = {"batch_size": 8, "precision": torch.float32, "progress": False}


def test_learning_rate_falls_as_in_the_paper(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    assert [paper_schedule(epoch / 60) for epoch in range(60)] == pytest.approx([1] * 36 + [0.1] * 12 + [0.01] * 12)
    for epochs in range(5, 300, 5):
        falls = [paper_schedule(epoch / epochs) for epoch in range(epochs)]
        assert [falls.index(pytest.approx(rate)) for rate in (0.1, 0.01)] == [3 * epochs // 5, 4 * epochs // 5]
    history = mtlue.fit(
        make_generator(), canvases[:8], net, loss=mtlue.EM(), epochs=5, learning_rate=0.01, stop_accuracy=1.1, **QUIET
    )
    assert [epoch.learning_rate for epoch in history] == pytest.approx([0.01] * 3 + [0.001, 0.0001])


def test_a_schedule_of_ones_own_decides_the_learning_rate(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    asked: list[float] = []

    def rising(done: float) -> float:
        asked.append(done)
        return done

    settings = {"loss": mtlue.TAP(), "epochs": 4, "learning_rate": 0.01, **QUIET}
    history = mtlue.fit(make_generator(), canvases[:8], net, schedule=rising, **settings)
    assert [epoch.learning_rate for epoch in history] == pytest.approx([0, 0.0025, 0.005, 0.0075])
    asked.clear()
    mtlue.fit(make_generator(), canvases[:8], net, schedule=rising, **{**settings, "batch_size": 4})
    # Once for each step, and not only for each epoch.
    assert {0.125, 0.375, 0.625, 0.875} <= set(asked)
    history = mtlue.fit(make_generator(), canvases[:8], net, schedule=evaluation.dense_paper_schedule, **settings)
    assert [epoch.learning_rate for epoch in history] == pytest.approx([0.01] * 2 + [0.001] * 2)


def test_the_schedule_reaches_the_optimiser(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    generator = make_generator()
    before = snapshot(generator)[2]
    mtlue.fit(generator, canvases[:8], net, loss=mtlue.TAP(), epochs=2, schedule=lambda done: float(done > 0.98), **QUIET)
    parameters = dict(generator.named_parameters())
    assert all(torch.equal(before[name], value) for name, value in parameters.items())
    mtlue.fit(generator, canvases[:8], net, loss=mtlue.TAP(), epochs=2, schedule=lambda done: float(done > 0), **QUIET)
    assert not all(torch.equal(before[name], value) for name, value in parameters.items())


def test_the_schedule_left_out_is_that_of_the_paper(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    trained = []
    for options in ({}, {"schedule": evaluation.paper_schedule}):
        trained.append(make_generator())
        mtlue.fit(trained[-1], canvases[:8], net, loss=mtlue.TAP(), epochs=5, **options, **QUIET)
    assert equal(trained[0].state_dict(), trained[1].state_dict())


@pytest.mark.parametrize(
    ("schedule", "error", "message"),
    [
        (0.1, TypeError, r"schedule: expected a function of the share of the training done, got 0\.1"),
        (float, TypeError, "schedule: expected a function of the share of the training done, got <class 'float'>"),
        (lambda done: "low", TypeError, "schedule: expected a number, got 'low'"),
        (lambda done: done - 0.1, ValueError, r"schedule: expected a number >= 0, got -0\.1"),
        (lambda done: float("nan"), ValueError, "schedule: expected a number >= 0, got nan"),
    ],
)
def test_a_schedule_that_cannot_be_used(
    canvases: Any, net: nn.Module, make_generator: Any, schedule: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        mtlue.fit(make_generator(), canvases, net, loss=mtlue.TAP(), schedule=schedule, **QUIET)
