"""A victim whose training is broken off and taken up again is that of an unbroken one; a checkpoint of another is refused."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from killed_run import parts, same_state
from mtlue.defenses import Mixup, grayscale
from mtlue.evaluation import RLW, UW, Weighting, dense_paper_schedule, random_crop
from optional import needs
from resumed_victims import STEPS, BrokenError, Norms, Trained, fuse, kill, light, victim


@pytest.fixture(scope="module")
def unbroken() -> Trained:
    with torch.random.fork_rng(devices=[]):
        return victim(None)


@pytest.fixture(autouse=True)
def apart() -> Any:
    """The fuse is out, and the global random numbers are put back."""
    with torch.random.fork_rng(devices=[]):
        yield
    fuse.at = 0


def same(first: Trained, second: Trained) -> bool:
    kept = first.norms == second.norms and first.skills == second.skills
    return kept and same_state(first.victim, second.victim)


def test_a_victim_that_was_killed_goes_on_as_if_it_had_not(tmp_path: Path, unbroken: Trained) -> None:
    # The second step of the third epoch.
    kill("victim", tmp_path / "run.pt", 2 * STEPS + 2)
    seen: list[Any] = []
    again = victim(tmp_path / "run.pt", progress=seen.append)
    assert [figures["epoch"] for figures in seen] == [3, 4]
    assert [(figures["step"], figures["steps"]) for figures in seen] == [(3, 4), (4, 4)]
    assert same(again, unbroken)
    assert not again.victim.training
    # A training that is at its end stays there.
    seen.clear()
    assert same(victim(tmp_path / "run.pt", progress=seen.append), unbroken)
    assert seen == []


@pytest.mark.parametrize("error", [BrokenError, KeyboardInterrupt])
def test_a_victim_that_is_broken_off_again_and_again(tmp_path: Path, unbroken: Trained, error: type[BaseException]) -> None:
    """Each time in the step after the first whole epoch, with what it has gathered lost."""
    broken = 0
    for at in (2, STEPS + 1, STEPS + 2, 2 * STEPS):
        light(at, error)
        with pytest.raises((BrokenError, KeyboardInterrupt)):
            victim(tmp_path / "run.pt")
        broken += 1
    light(0, error)
    assert same(victim(tmp_path / "run.pt"), unbroken)
    assert (broken, fuse.calls) == (4, STEPS)


def test_a_data_set_that_fails_while_it_is_read(tmp_path: Path, unbroken: Trained) -> None:
    class Failing(list[Any]):
        reads = 0

        def __getitem__(self, index: Any) -> Any:
            self.reads += 1
            if self.reads == at:
                raise OSError("no disk")
            return super().__getitem__(index)

    # 20 reads of the inspection, two looks at images and at labels, and an epoch and a half.
    at = 20 + 80 + 30
    with pytest.raises(ValueError, match=r"dataset: sample .* no disk"):
        victim(tmp_path / "run.pt", Failing(parts()[0]))
    assert (tmp_path / "run.pt").is_file()
    assert same(victim(tmp_path / "run.pt"), unbroken)


@pytest.mark.parametrize("at", range(1, 6))
def test_a_checkpoint_that_cannot_be_written(
    tmp_path: Path, unbroken: Trained, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """Before the first epoch, or after one of four; the disk is full, or the user presses Ctrl-C in between."""
    writes, replace = [], os.replace

    def fail(*names: Any) -> None:
        writes.append(names)
        if len(writes) == at:
            raise KeyboardInterrupt if at % 2 else OSError(28, "No space left on device")
        replace(*names)

    norms = Norms()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises((KeyboardInterrupt, OSError)):
            victim(tmp_path / "run.pt", norms=norms)
    # The object that has seen an epoch which counts no longer goes on too, but for one that was there before any file was.
    again = victim(tmp_path / "run.pt", norms=norms if at > 1 else None)
    assert same(again, unbroken)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.pt"]


def test_the_paper_s_weighting_is_taken_up(tmp_path: Path) -> None:
    needs("torchjd", extra="evaluation")
    whole = victim(None, weighting=UW())
    light(2 * STEPS + 1, BrokenError)
    with pytest.raises(BrokenError):
        victim(tmp_path / "run.pt", weighting=UW())
    again = UW()
    assert same(victim(tmp_path / "run.pt", weighting=again), whole)
    assert float(next(iter(again.parameters())).detach().abs().min()) > 0


class Wider(nn.Module):
    """Another architecture with the parameters of the script's network."""

    def __init__(self) -> None:
        super().__init__()
        for name, child in parts()[1].named_children():
            self.add_module(name, child)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.get_submodule("2")(self.get_submodule("1")(images.flatten(1))).tanh()
        return answer


def shifted() -> nn.Module:
    net = parts()[1]
    with torch.no_grad():
        next(iter(net.parameters()))[0] += 1e-6
    return net


CHANGED: list[tuple[dict[str, Any], str]] = [
    ({"epochs": 5}, r"epochs was 4, is 5"),
    ({"seed": 1}, r"seed was 0, is 1"),
    ({"batch_size": 4}, r"batch_size was 8, is 4"),
    ({"learning_rate": 1e-3}, r"learning_rate was 0\.01, is 0\.001"),
    ({"image_size": (10, 9)}, r"image_size was None, is \(10, 9\)"),
    ({"schedule": dense_paper_schedule}, r"schedule was 'paper_schedule, checksum \w{12}', is 'dense_paper_schedule"),
    ({"transform": random_crop}, r"transform was 'jittered', is 'random_crop'"),
    ({"defense": grayscale}, r"defense was 'EarlyStopping\(6 clean images\)', is 'Preprocessing\(grayscale\)'"),
    ({"defense": Mixup()}, r"defense was 'EarlyStopping.*', is 'Mixup"),
    ({"model": shifted()}, r"checksum of the model was '\w{12}', is '\w{12}'"),
    ({"model": Wider()}, r"checksum of the model was '\w{12}', is '\w{12}'"),
    ({"tasks": {"task1": 2, "task0": 2}}, r"tasks was '\[\[\"task0\".*', is '\[\[\"task1\""),
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("finished") / "run.pt"
    with torch.random.fork_rng(devices=[]):
        victim(file)
    return file


@pytest.mark.parametrize(("changes", "message"), CHANGED)
def test_a_checkpoint_of_other_arguments_is_refused(finished: Path, changes: dict[str, Any], message: str) -> None:
    before = finished.read_bytes()
    with pytest.raises(ValueError, match=rf"checkpoint: .*run\.pt belongs to a run with other arguments \({message}"):
        victim(finished, **changes)
    assert finished.read_bytes() == before


def test_a_checkpoint_of_another_precision_is_refused(finished: Path) -> None:
    with pytest.raises(ValueError, match=r"precision was 'torch\.float32', is 'torch\.bfloat16'"):
        victim(finished, precision=torch.bfloat16)


class Fixed(Weighting):
    def __init__(self, share: float) -> None:
        self.share = share

    def backward(self, losses: Any, module: nn.Module) -> None:
        (self.share * torch.stack(list(losses.values()))).sum().backward()


def test_a_weighting_of_one_s_own_is_known_by_its_public_attributes(tmp_path: Path) -> None:
    victim(tmp_path / "run.pt", weighting=Fixed(0.5), epochs=1)
    victim(tmp_path / "run.pt", weighting=Fixed(0.5), epochs=1)
    with pytest.raises(ValueError, match=r"weighting was 'Fixed\(share=0\.5\)', is 'Fixed\(share=0\.25\)'"):
        victim(tmp_path / "run.pt", weighting=Fixed(0.25), epochs=1)


@pytest.mark.parametrize("what", ["images", "labels"])
def test_a_checkpoint_of_another_set_is_refused(finished: Path, what: str) -> None:
    dataset = parts()[0]
    image, (first, second) = dataset[7]
    dataset[7] = (255 - image, (first, second)) if what == "images" else (image, (first, 1 - second))
    with pytest.raises(ValueError, match=rf"checksum of the {what} was '\w{{12}}', is '\w{{12}}'"):
        victim(finished, dataset)


class Noisy(list[Any]):
    """A set that augments its images when they are read."""

    def __init__(self, source: str) -> None:
        super().__init__((image.float() / 255, label) for image, label in parts()[0])
        self.source = source

    def __getitem__(self, index: Any) -> Any:
        image, label = super().__getitem__(index)
        drawn = {"torch": torch.rand(()), "random": random.random(), "numpy": np.random.default_rng().random()}
        return 0.5 * image + 0.5 * float(drawn[self.source]), label


@pytest.mark.parametrize("source", ["torch", "random"])
def test_a_set_that_augments_is_taken_up_exactly(tmp_path: Path, source: str) -> None:
    whole = victim(None, Noisy(source))
    light(STEPS + 2, BrokenError)
    with pytest.raises(BrokenError):
        victim(tmp_path / "run.pt", Noisy(source))
    assert same(victim(tmp_path / "run.pt", Noisy(source)), whole)
    other = Noisy(source)
    list.__setitem__(other, 3, (torch.zeros(1, 10, 9), (0, 0)))
    with pytest.raises(ValueError, match="checksum of the images was"):
        victim(tmp_path / "run.pt", other)


def test_a_set_that_no_seed_decides_is_known_by_its_labels(tmp_path: Path) -> None:
    light(STEPS + 2, BrokenError)
    with pytest.raises(BrokenError):
        victim(tmp_path / "run.pt", Noisy("numpy"))
    assert len(victim(tmp_path / "run.pt", Noisy("numpy")).norms) == 4
    other = Noisy("numpy")
    image, (first, second) = list.__getitem__(other, 0)
    list.__setitem__(other, 0, (image, (1 - first, second)))
    with pytest.raises(ValueError, match="checksum of the labels was"):
        victim(tmp_path / "run.pt", other)


def test_a_function_makes_the_model_again(tmp_path: Path) -> None:
    def make(tasks: Any) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(90, len(tasks)))

    whole = victim(None, model=make)
    light(STEPS + 2, BrokenError)
    with pytest.raises(BrokenError):
        victim(tmp_path / "run.pt", model=make)
    assert same(victim(tmp_path / "run.pt", model=make), whole)


def test_without_a_checkpoint_no_sample_is_read_to_know_the_set_again() -> None:
    class Counting(list[Any]):
        reads = 0

        def __getitem__(self, index: Any) -> Any:
            self.reads += 1
            return super().__getitem__(index)

    dataset = Counting(parts()[0])
    victim(None, dataset, defense=None, epochs=1)
    # All before the training, the model's look at two, and the epoch.
    assert dataset.reads == 20 + 2 + 20


class Sealed(Norms):
    """Its state has something that no file holds."""

    def state_dict(self) -> dict[str, Any]:
        return {"seen": object()}


class Careless(Weighting):
    """It has a state that it does not take back."""

    def backward(self, losses: Any, module: nn.Module) -> None:
        torch.stack(list(losses.values())).sum().backward()

    def state_dict(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"norms": Sealed()},
            r"after_epoch: expected tensors and plain values in the state of Sealed, got object at state_dict\(\)\['seen'\]",
        ),
        ({"weighting": Careless()}, r"weighting: Careless has a state_dict, but no load_state_dict to take it back"),
    ],
)
def test_a_state_that_cannot_be_kept_is_told_before_the_first_step(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    light(1, BrokenError)
    with pytest.raises(TypeError, match=message):
        victim(tmp_path / "run.pt", **changes)
    assert fuse.calls == 0
    light(0, BrokenError)
    if "weighting" in changes:
        # Nobody asked for it.
        victim(None, epochs=1, **changes)


def test_two_calls_on_one_checkpoint(tmp_path: Path) -> None:
    fuse.at, fuse.calls, fuse.act = 1, 0, lambda: victim(tmp_path / "run.pt")
    with pytest.raises(BlockingIOError, match=r"checkpoint: another call is writing to .*run\.pt"):
        victim(tmp_path / "run.pt")


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "run.pt"
    file.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"checkpoint: .*run\.pt is damaged, or is not a checkpoint of mtlue"):
        victim(file)
    assert file.read_bytes() == b"mine"
    with pytest.raises(ValueError, match=r"checkpoint: .* is a folder, expected a checkpoint of mtlue"):
        victim(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"checkpoint: the folder .* does not exist"):
        victim(tmp_path / "nowhere" / "run.pt")


def test_a_checkpoint_of_fit_is_refused(tmp_path: Path, script: Any) -> None:
    script.fit("tap", tmp_path / "run.pt", epochs=1)
    with pytest.raises(ValueError, match=r"belongs to a run with other arguments \(.*generator was"):
        victim(tmp_path / "run.pt")


def test_a_checkpoint_that_was_changed_is_refused(finished: Path, tmp_path: Path) -> None:
    content = bytearray(finished.read_bytes())
    content[-1] ^= 1
    (tmp_path / "run.pt").write_bytes(bytes(content))
    with pytest.raises(ValueError, match="its checksum does not match its content"):
        victim(tmp_path / "run.pt")


def test_random_weights_are_drawn_as_in_an_unbroken_training(tmp_path: Path) -> None:
    needs("torchjd", extra="evaluation")
    whole = victim(None, weighting=RLW())
    light(STEPS + 1, BrokenError)
    with pytest.raises(BrokenError):
        victim(tmp_path / "run.pt", weighting=RLW())
    assert same(victim(tmp_path / "run.pt", weighting=RLW()), whole)
