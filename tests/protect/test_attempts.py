"""`protect(attempts=)` keeps the generator of which the check finds the least."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from mtlue._protect import checking
from striped_garments import QUIET, TASKS, Garments, StoppedError, Stripes, check_that_finds, garments, stop


@pytest.fixture(scope="module")
def pale() -> Garments:
    return garments(64, contrast=0.15)


def attempt(dataset: Garments, **changes: Any) -> Any:
    net = nn.Sequential(nn.Flatten(), nn.Linear(256, 2))
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    return mtlue.protect(dataset, **{"surrogate": net, "loss": mtlue.EM(), "epochs": 1, "tasks": TASKS, **QUIET, **changes})


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    construct = mtlue.UEGenerator.__init__
    monkeypatch.setattr(mtlue.UEGenerator, "__init__", lambda *a, **k: construct(*a, **{**k, "width": 2}))


def weights(safe: Any) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in safe.generator.parameters()])


@pytest.mark.usefixtures("narrow")
def test_the_best_attempt_is_kept(pale: Garments, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = []
    for shares in ((0.1, 0.2, 0.2), (0.2, 0.1, 0.2), (0.2, 0.2, 0.1)):
        monkeypatch.setattr(checking, "run_check", check_that_finds(*shares))
        safe = attempt(pale, attempts=3)
        assert safe.check.residual_learnability == {"top": 0.1, "shoe": 0.1}
        made.append(weights(safe))
    assert not torch.equal(made[0], made[1])
    assert not torch.equal(made[1], made[2])
    monkeypatch.setattr(checking, "run_check", check_that_finds(0.2))
    assert torch.equal(weights(attempt(pale)), made[0])
    # Cut off in the second attempt: the first is neither trained nor checked again.
    first, second = check_that_finds(0.2), tmp_path / "s.partial" / "attempt-1"
    monkeypatch.setattr(checking, "run_check", lambda *given, **named: stop() if second.exists() else first(*given, **named))
    with pytest.raises(StoppedError):
        attempt(pale, attempts=3, path=tmp_path / "s")
    monkeypatch.setattr(checking, "run_check", check_that_finds(0.2, 0.1))
    assert torch.equal(weights(attempt(pale, attempts=3, path=tmp_path / "s")), made[2])
    assert {file.name for file in tmp_path.iterdir()} <= {"s", "s.partial.lock"}


@pytest.mark.usefixtures("narrow")
def test_several_attempts_that_make_no_sense(pale: Garments) -> None:
    for changes, words in (
        ({"attempts": 2, "check": False}, "attempts: expected 1 with check=False, got 2; the check chooses"),
        ({"attempts": 2, "generator": Stripes()}, "attempts: expected 1 with a generator, got 2; leave it out"),
        ({"attempts": 0}, "attempts: expected at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=words):
            attempt(pale, **changes)
    with pytest.raises(
        ValueError, match=r"attempts: expected 1 for 48 samples, got 2; choosing among attempts takes at least 64"
    ):
        attempt(pale[:48], attempts=2)
