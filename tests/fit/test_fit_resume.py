"""A training that is killed and taken up again ends as an unbroken one, and a checkpoint of another is refused."""

from __future__ import annotations

import copy
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import mtlue
from killed_run import kill, same_state
from mtlue import evaluation


def renamed(function: Any, name: str) -> Any:
    function.__qualname__ = name
    return function


@pytest.mark.parametrize("kind", ["tap", "em"])
def test_a_fit_that_was_killed_goes_on_as_if_it_had_not(script: Any, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "run.pt"
    # Steps of 8 on 20 samples: the second step of the third epoch.
    kill("fit", kind, file, "fit", 8)
    steps: list[Any] = []
    generator, net, history = script.fit(kind, file, progress=steps.append)
    whole_generator, whole_net, whole_history = script.fit(kind, None)
    assert [(figures["epoch"], figures["step"]) for figures in steps] == [(1 + step // 3, step + 1) for step in range(6, 15)]
    assert same_state(generator, whole_generator)
    assert same_state(net, whole_net)
    assert generator.trained
    assert same_state(net, script.parts()[1]) == (kind == "tap")
    for row, whole_row in zip(history.to_rows(), whole_history.to_rows(), strict=True):
        assert {**row, "seconds": 0} == {**whole_row, "seconds": 0}
    # A run that is at its end stays there.
    steps.clear()
    again, again_net, again_history = script.fit(kind, file, progress=steps.append)
    assert steps == []
    assert len(again_history) == 5
    assert same_state(again, whole_generator)
    assert same_state(again_net, whole_net)


def test_a_run_that_ended_early_stays_ended(script: Any, tmp_path: Path) -> None:
    for _ in range(2):
        _, _, history = script.fit("em", tmp_path / "run.pt", stop_accuracy=0.01)
        assert len(history) == 1
        assert history.stopped_early


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 6),
        ("seed", 1),
        ("batch_size", 4),
        ("learning_rate", 1e-2),
        ("lambda_intra", 1.0),
        ("lambda_inter", 1.0),
        ("surrogate_steps", 2),
        ("stop_accuracy", 0.9),
        ("precision", torch.bfloat16),
    ],
)
def test_a_checkpoint_of_other_settings_is_refused(script: Any, tmp_path: Path, name: str, value: Any) -> None:
    file = tmp_path / "run.pt"
    script.fit("tap", file, **({"epochs": 1} if name != "epochs" else {}))
    before = file.read_bytes()
    settings = {"epochs": 1, name: value}
    with pytest.raises(ValueError, match=rf"checkpoint: .*run\.pt belongs to a run with other arguments \({name} was .*, is "):
        script.fit("tap", file, **settings)
    assert file.read_bytes() == before


def test_a_checkpoint_of_another_loss_is_refused(script: Any, tmp_path: Path) -> None:
    script.fit("tap", tmp_path / "run.pt", epochs=1)
    with pytest.raises(ValueError, match=r"loss was .*Untargeted.*, is 'EM\(\)'"):
        script.fit("em", tmp_path / "run.pt", epochs=1)


def brighter(images: torch.Tensor) -> torch.Tensor:
    return images + 0.1


class Faded:
    """Augmentation without a name of its own."""

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return 0.9 * images


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": brighter}, r"augment was '.*<lambda>', is 'brighter'"),
        ({"augment": Faded()}, r"augment was '.*<lambda>', is 'Faded'"),
        ({"augment": partial(brighter, factor=2)}, r"augment was '.*<lambda>', is 'partial\(brighter, factor=2\)'"),
        ({"augment": None}, r"augment was '.*<lambda>', is None"),
        ({"schedule": evaluation.dense_paper_schedule}, r"schedule was 'paper_schedule, checksum \w{12}', is 'dense_paper_sch"),
        # Another function of the same name.
        ({"schedule": renamed(lambda done: 0.5, "paper_schedule")}, r"schedule was 'paper_schedule, .*, is 'paper_schedule, "),
    ],
)
def test_a_checkpoint_of_other_functions_is_refused(script: Any, tmp_path: Path, changes: Any, message: str) -> None:
    script.fit("tap", tmp_path / "run.pt")
    with pytest.raises(ValueError, match=rf"run\.pt belongs to a run with other arguments \({message}"):
        script.fit("tap", tmp_path / "run.pt", **changes)


@pytest.mark.parametrize("what", ["images", "labels"])
@pytest.mark.parametrize("index", [0, 7, 19])
def test_a_checkpoint_of_other_data_is_refused(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, index: int
) -> None:
    script.fit("tap", tmp_path / "run.pt", epochs=1)
    dataset, net, generator = script.parts()
    image, (first, second) = dataset[index]
    dataset[index] = (255 - image, (first, second)) if what == "images" else (image, (first, 1 - second))
    monkeypatch.setattr(script, "parts", lambda: (dataset, net, generator))
    message = rf"other arguments \(checksum of the {what} was '\w{{12}}', is '\w{{12}}'\)"
    with pytest.raises(ValueError, match=message):
        script.fit("tap", tmp_path / "run.pt", epochs=1)


@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
@pytest.mark.parametrize("kind", ["state dict", "module"])
@pytest.mark.parametrize("of", ["surrogate", "checkpoints"])
def test_a_checkpoint_of_another_frozen_network_is_refused(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, of: str, kind: str
) -> None:
    dataset, net, generator = script.parts()
    monkeypatch.setattr(script, "parts", lambda: (dataset, net, generator))
    older = copy.deepcopy(net)
    state: Any = older if kind == "module" else older.state_dict()
    monkeypatch.setattr(script, "loss_of", lambda _: mtlue.SEP([state]))
    script.fit("sep", tmp_path / "run.pt", epochs=1)
    # The same again is the same.
    script.fit("sep", tmp_path / "run.pt", epochs=1)
    with torch.no_grad():
        (net if of == "surrogate" else older)[2].bias[0] += 1e-6
    with pytest.raises(ValueError, match=rf"other arguments \(checksum of the {of} was '\w{{12}}', is '\w{{12}}'\)"):
        script.fit("sep", tmp_path / "run.pt", epochs=1)


def test_a_surrogate_that_is_trained_comes_from_the_checkpoint(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, first, _ = script.fit("em", tmp_path / "run.pt", epochs=1)
    dataset, net, generator = script.parts()
    with torch.no_grad():
        net[2].bias += 1.0
    monkeypatch.setattr(script, "parts", lambda: (dataset, net, generator))
    script.fit("em", tmp_path / "run.pt", epochs=1)
    assert same_state(first, net)


def test_a_run_without_a_checkpoint_reads_no_sample_to_know_its_data_again(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The package has a function of the module's name.
    monkeypatch.setattr(sys.modules["mtlue._fit.fit"], "run_settings", None)
    assert len(script.fit("tap", None, epochs=1)[2]) == 1


def test_a_file_that_is_no_checkpoint_is_refused(script: Any, tmp_path: Path) -> None:
    file = tmp_path / "run.pt"
    file.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"checkpoint: .*run\.pt is damaged, or is not a checkpoint of mtlue: it"):
        script.fit("tap", file)
    script.parts()[2].save(file)
    with pytest.raises(ValueError, match=r"checkpoint: .*run\.pt is not a checkpoint of mtlue"):
        script.fit("tap", file)
