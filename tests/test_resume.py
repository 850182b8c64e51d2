"""Runs that are killed and taken up again end as unbroken ones."""

from __future__ import annotations

import copy
import importlib.util
import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

import mtlue
from mtlue import evaluation

SCRIPT = '''
import os
import signal
import sys

import torch

import mtlue

torch.set_num_threads(1)


def parts():
    random = torch.Generator().manual_seed(0)
    images = torch.randint(256, (20, 1, 10, 9), generator=random, dtype=torch.uint8)
    labels = torch.randint(2, (20, 2), generator=random)
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.BatchNorm1d(90), torch.nn.Linear(90, 2))
    generator = mtlue.UEGenerator({"task0": 2, "task1": 2}, (1, 10, 9), width=4)
    return [(image, tuple(label.tolist())) for image, label in zip(images, labels)], net, generator


class Untargeted(mtlue.BaseUELoss):
    """Frozen like TAP, and content with an untrained surrogate."""

    trains_surrogate = False

    def __call__(self, surrogate, images, targets):
        return surrogate.adversarial_loss(images, targets)


def loss_of(kind):
    return mtlue.EM() if kind == "em" else Untargeted()


def fit(kind, checkpoint, progress=False, **changes):
    dataset, net, generator = parts()
    settings = {"epochs": 5, "batch_size": 8, "stop_accuracy": 1.1, "surrogate_steps": 3, "precision": torch.float32}
    settings.update({"augment": lambda images: images + 0.01 * torch.rand_like(images), **changes})
    history = mtlue.fit(generator, dataset, net, loss=loss_of(kind), checkpoint=checkpoint, progress=progress, **settings)
    return generator, net, history


def protect(kind, path, progress=False, **changes):
    dataset, net, generator = parts()
    settings = {"epochs": 4, "batch_size": 4, "fraction": 0.8, "precision": torch.float32, **changes}
    settings.update(surrogate=net, generator=generator, loss=loss_of(kind), path=path, progress=progress)
    return mtlue.protect(dataset, **settings)


def killer(stage, step):
    def kill(figures):
        if ("base_loss" in figures) == (stage == "fit") and figures["step"] == step:
            os.kill(os.getpid(), signal.SIGKILL)

    return kill


if __name__ == "__main__":
    verb, kind, path, stage, step = sys.argv[1:]
    {"fit": fit, "protect": protect}[verb](kind, path, progress=killer(stage, int(step)))
'''


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The script as a module, with its path."""
    path = tmp_path_factory.mktemp("script") / "run.py"
    path.write_text(SCRIPT)
    spec = importlib.util.spec_from_file_location("resumed_run", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    state = torch.get_rng_state()
    spec.loader.exec_module(module)
    yield module
    torch.set_rng_state(state)


def kill(script: Any, verb: str, kind: str, path: Path, stage: str, step: int) -> None:
    command = [sys.executable, script.__file__, verb, kind, str(path), stage, str(step)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def renamed(function: Any, name: str) -> Any:
    function.__qualname__ = name
    return function


def same_state(left: torch.nn.Module, right: torch.nn.Module) -> bool:
    other = right.state_dict()
    return all(torch.equal(value, other[name]) for name, value in left.state_dict().items())


@pytest.mark.parametrize("kind", ["tap", "em"])
def test_a_fit_that_was_killed_goes_on_as_if_it_had_not(script: Any, tmp_path: Path, kind: str) -> None:
    file = tmp_path / "run.pt"
    # Steps of 8 on 20 samples: the second step of the third epoch.
    kill(script, "fit", kind, file, "fit", 8)
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
    module = sys.modules["mtlue._fit.fit"]
    monkeypatch.setattr(module, "images_digest", None)
    monkeypatch.setattr(module, "labels_digest", None)
    assert len(script.fit("tap", None, epochs=1)[2]) == 1


def test_a_file_that_is_no_checkpoint_is_refused(script: Any, tmp_path: Path) -> None:
    file = tmp_path / "run.pt"
    file.write_bytes(b"no checkpoint")
    with pytest.raises(ValueError, match=r"checkpoint: .*run\.pt is damaged, or is not the checkpoint of a run of mtlue$"):
        script.fit("tap", file)
    script.parts()[2].save(file)
    with pytest.raises(ValueError, match=r"checkpoint: .*run\.pt is not the checkpoint of a run"):
        script.fit("tap", file)


@pytest.mark.parametrize(("kind", "stage", "step"), [("em", "fit", 8), ("tap", "protect", 3)])
def test_a_protection_that_was_killed_goes_on(script: Any, tmp_path: Path, kind: str, stage: str, step: int) -> None:
    broken, whole, partial = tmp_path / "broken", tmp_path / "whole", tmp_path / "broken.partial"
    kill(script, "protect", kind, broken, stage, step)
    assert not broken.exists()
    assert partial.is_dir()
    if stage == "protect":
        noted = json.loads((partial / "progress.json").read_text())["count"]
        assert 0 < noted < 20
        # What the killed process wrote after its last note.
        with (partial / "images.bin").open("ab") as file:
            file.write(bytes(37))
    steps: list[Any] = []
    safe = script.protect(kind, broken, progress=steps.append)
    # It did not begin again.
    assert steps[0]["step"] > 1
    # 5 steps an epoch and 5 batches to protect: the broken epoch is run again, the broken batch is written again.
    assert len(steps) == (5 - noted // 4 if stage == "protect" else 3 * 5 + 5)
    script.protect(kind, whole)
    assert (broken / "images.bin").read_bytes() == (whole / "images.bin").read_bytes()
    assert json.loads((broken / "manifest.json").read_text()) == json.loads((whole / "manifest.json").read_text())
    assert {file.name for file in broken.iterdir()} == {"images.bin", "manifest.json"}
    assert not partial.exists()
    memory = script.protect(kind, None)
    assert all(torch.equal(safe[i][0], memory[i][0]) and safe[i][1] == memory[i][1] for i in range(20))


@pytest.mark.parametrize("kind", ["tap", "em"])
def test_a_protection_goes_on_with_the_generator_that_it_has_trained(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """In one process: a generator that came new to the call has been trained in place when the call is repeated."""
    script.protect(kind, tmp_path / "whole")
    parts = script.parts()
    monkeypatch.setattr(script, "parts", lambda: parts)

    def stop(figures: Any) -> None:
        if "base_loss" not in figures and figures["step"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        script.protect(kind, tmp_path / "store", progress=stop)
    assert parts[2].trained
    steps: list[Any] = []
    safe = script.protect(kind, tmp_path / "store", progress=steps.append)
    assert [each["step"] for each in steps] == [3, 4, 5]
    assert (tmp_path / "store" / "images.bin").read_bytes() == (tmp_path / "whole" / "images.bin").read_bytes()
    assert len(safe.history) == 4


def test_a_protection_does_not_go_on_with_a_generator_that_was_trained_elsewhere(script: Any, tmp_path: Path) -> None:
    def stop(figures: Any) -> None:
        if "base_loss" not in figures:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        script.protect("tap", tmp_path / "store", progress=stop, epochs=1)
    dataset, net, generator = script.parts()
    generator.trained = True
    settings = {"surrogate": net, "generator": generator, "loss": script.loss_of("tap"), "progress": False}
    settings |= {"epochs": 1, "batch_size": 4, "fraction": 0.8, "precision": torch.float32, "path": tmp_path / "store"}
    with (
        pytest.warns(UserWarning, match="generator: it is trained and used as it is"),
        pytest.raises(ValueError, match=r"path: .*store\.partial was left by a call with another generator"),
    ):
        mtlue.protect(dataset, **settings)


def test_a_protection_that_stops_at_its_very_end_goes_on(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    replace = os.replace

    def stop(source: Any, target: Any) -> None:
        if Path(target) == tmp_path / "store":
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr(os, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        script.protect("tap", tmp_path / "store", epochs=1)
    monkeypatch.undo()
    script.protect("tap", tmp_path / "store", epochs=1)
    script.protect("tap", tmp_path / "whole", epochs=1)
    assert (tmp_path / "store" / "images.bin").read_bytes() == (tmp_path / "whole" / "images.bin").read_bytes()
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["store", "whole"]


@pytest.mark.parametrize(("name", "value"), [("seed", 3), ("fraction", 0.5), ("protected_tasks", ["task0"]), ("epochs", 9)])
def test_a_protection_with_other_arguments_is_not_taken_up(script: Any, tmp_path: Path, name: str, value: Any) -> None:
    def stop(figures: Any) -> None:
        if "base_loss" not in figures:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        script.protect("tap", tmp_path / "store", progress=stop, epochs=1)
    with pytest.raises(ValueError, match=rf"path: .*store\.partial was left by a call with another {name}"):
        script.protect("tap", tmp_path / "store", **{"epochs": 1, name: value})


@pytest.mark.parametrize(
    ("changes", "other"),
    # A frozen surrogate is told by its weights, one that is trained by their shapes.
    [({"batch_size": 8}, "batch_size"), ({"loss": mtlue.EM()}, "checksum of the surrogate, loss")],
)
def test_a_protection_names_no_checkpoint_of_its_own(
    script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: Any, other: str
) -> None:
    loss = changes.get("loss", script.loss_of("tap"))
    stopped: list[Any] = []

    def stop(figures: Any) -> None:
        stopped.append(figures)
        if "base_loss" in figures and figures["epoch"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        script.protect("tap", tmp_path / "store", progress=stop)
    monkeypatch.setattr(script, "loss_of", lambda kind: loss)
    message = rf"^path: .*store\.partial was left by a call with another {other}; repeat that call, or delete it$"
    with pytest.raises(ValueError, match=message):
        script.protect("tap", tmp_path / "store", **{name: value for name, value in changes.items() if name != "loss"})


def test_a_second_call_on_one_path_says_so(script: Any, tmp_path: Path) -> None:
    def finish_elsewhere(figures: Any) -> None:
        if "base_loss" in figures and figures["step"] == 1:
            (tmp_path / "store.partial").rename(tmp_path / "store")

    words = r"^path: .*fit\.pt cannot be written: there is no folder .*store\.partial, or another call is writing to it$"
    with pytest.raises(FileNotFoundError, match=words):
        script.protect("tap", tmp_path / "store", progress=finish_elsewhere)


def test_a_path_that_exists_is_refused(script: Any, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "mine.txt").write_text("precious")
    with pytest.raises(FileExistsError, match=r"path: .*store exists; open a finished store with mtlue.ProtectedDataset.load"):
        script.protect("tap", tmp_path / "store")
    assert (tmp_path / "store" / "mine.txt").read_text() == "precious"
    assert not (tmp_path / "store.partial").exists()
    assert isinstance(script.protect("tap", None, epochs=1), mtlue.ProtectedDataset)
