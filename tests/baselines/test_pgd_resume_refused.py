"""What a search on pixels does not take up: what another call left, and what is damaged."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import mtlue
from broken_search import interrupt_at, make_dataset, make_surrogate, same_files, search
from killed_run import same_state
from mtlue._fit import Checkpoint
from mtlue._formats import Portion
from mtlue.baselines._pgd import pgd
from mtlue.baselines._pgd_stages import _frozen
from verb import files_below


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epsilon", 4 / 255),
        ("steps", 2),
        ("step_size", 1 / 255),
        ("rounds", 4),
        ("surrogate_steps", 5),
        ("learning_rate", 0.1),
        ("stop_accuracy", 1.2),
        ("augment", None),
        ("batch_size", 5),
        ("precision", torch.bfloat16),
        ("seed", 3),
        ("tasks", {"a": 2, "other": 2}),
        ("loss", mtlue.EM()),
        ("surrogate", make_surrogate(seed=2)),
    ],
)
def test_a_call_with_other_arguments_is_not_taken_up(tmp_path: Path, name: str, value: Any) -> None:
    with pytest.raises(KeyboardInterrupt):
        search("frozen", tmp_path / "safe", progress=interrupt_at(9))
    before = files_below(tmp_path / "safe.partial")
    with pytest.raises(ValueError, match=rf"path: .*safe\.partial was left by a call with another .*\b{name}\b"):
        search("frozen", tmp_path / "safe", **{name: value})
    assert files_below(tmp_path / "safe.partial") == before


def test_a_call_that_is_refused_leaves_no_folder(canvases: Any, net: Any, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"tasks": {"shoe": 2, "front": 2}, "surrogate": net, "loss": mtlue.TAP(), "steps": 1}
    settings |= {"batch_size": 16, "progress": False, "path": tmp_path / "store"}
    with pytest.raises(ValueError, match="surrogate: no gradient reaches the images"):
        pgd(canvases, augment=torch.Tensor.detach, **settings)
    assert list(tmp_path.iterdir()) == []
    assert len(pgd(canvases, **settings)) == 48


@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
def test_sep_with_other_checkpoints_is_not_taken_up(tmp_path: Path) -> None:
    def states(seed: int) -> Any:
        return mtlue.SEP([make_surrogate(1).state_dict(), make_surrogate(seed)])

    with pytest.raises(KeyboardInterrupt):
        search("frozen", tmp_path / "safe", progress=interrupt_at(9), loss=states(2))
    with pytest.raises(ValueError, match=r"was left by a call with another checkpoints;"):
        search("frozen", tmp_path / "safe", loss=states(3))
    assert len(search("frozen", tmp_path / "safe", loss=states(2))) == 20


def test_another_data_set_is_not_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        search("frozen", tmp_path / "safe", progress=interrupt_at(9))
    images = [(image.flip(-1), target) for image, target in make_dataset()]
    monkeypatch.setattr("broken_search.make_dataset", lambda: images)
    with pytest.raises(ValueError, match=r"was left by a call with another images;"):
        search("frozen", tmp_path / "safe")


@pytest.mark.parametrize("size", [0, 100, 241])
def test_perturbations_that_were_cut_are_not_taken_up(tmp_path: Path, size: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        search("em", tmp_path / "safe", progress=interrupt_at(20))
    (file,) = (tmp_path / "safe.partial" / "perturbations").glob("*/000000.bin")
    os.truncate(file, size)
    words = rf"path: .*perturbations.* is damaged and cannot be resumed \(000000\.bin has {size} bytes, expected 240\)"
    with pytest.raises(ValueError, match=words):
        search("em", tmp_path / "safe")


def test_a_surrogate_without_its_perturbations_is_not_taken_up(whole_search: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        search("em", tmp_path / "safe", progress=interrupt_at(20))
    (file,) = (tmp_path / "safe.partial" / "perturbations").glob("*/000000.bin")
    file.unlink()
    net = make_surrogate()
    search("em", tmp_path / "safe", net=net)
    assert same_files(tmp_path / "safe", whole_search[0] / "em")
    assert same_state(net, whole_search[1]["em"])


def test_a_state_of_the_loss_at_another_point_is_refused(tmp_path: Path) -> None:
    kept = Checkpoint(tmp_path / "loss.pt", {})
    kept.save({"before": {4: {}}})
    search: Any = SimpleNamespace(
        plan=SimpleNamespace(rounds=1, steps=1),
        batch_size=SimpleNamespace(value=4),
        progress=SimpleNamespace(skip=lambda *done: None),
    )
    words = r"loss\.pt is damaged and cannot be resumed: 8 images are there, and no state of the loss at that point"
    with pytest.raises(ValueError, match=words):
        next(_frozen(search, Portion(iter(()), 8, 20), kept))
