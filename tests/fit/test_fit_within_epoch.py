"""A training that is interrupted within an epoch loses none of it, and ends as an unbroken one."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from killed_run import loss_of, parts, same_state
from mtlue._data import Samples
from mtlue._fit import FitPlan, checkpoint, pretrain
from mtlue._runtime import Compute, load_tensors, save_tensors


@pytest.fixture
def at_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint before each step, not every ten minutes."""
    monkeypatch.setattr(checkpoint, "_EVERY", 0.0)


def until(last: int, steps: list[int]) -> Callable[[Any], None]:
    """Note the steps, and interrupt the last one."""

    def watch(figures: Any) -> None:
        steps.append(figures["step"])
        if figures["step"] == last:
            raise KeyboardInterrupt

    return watch


def shaken(images: Tensor) -> Tensor:
    """Draws from the random numbers of Python and of torch."""
    return images + 0.01 * random.random() * torch.rand_like(images)


class Greedy(mtlue.EM):
    """Has memory for four images."""

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        if len(images) > 4:
            raise RuntimeError("out of memory")
        return super().__call__(surrogate, images, targets)


@pytest.mark.filterwarnings("ignore:out of memory with batches of 7 samples")
@pytest.mark.usefixtures("at_each_step")
@pytest.mark.parametrize("kind", ["tap", "em", "restarted", "greedy"])
def test_a_run_that_is_interrupted_again_and_again(script: Any, tmp_path: Path, kind: str) -> None:
    def fit(checkpoint: Path | None, stop: int, steps: list[int]) -> Any:
        loss = Greedy() if kind == "greedy" else loss_of(kind)
        return script.fit(kind, checkpoint, until(stop, steps), loss=loss, augment=shaken, batch_size=7, epochs=3)

    whole_steps: list[int] = []
    steps: list[int] = []
    whole, whole_net, wanted = fit(None, 0, whole_steps)
    for stop in (2, 3, 5, 8):
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "run.pt", stop, steps)
        # Only the step that was interrupted is taken again.
        steps.pop()
    generator, net, history = fit(tmp_path / "run.pt", 0, steps)
    assert same_state(generator, whole)
    assert same_state(net, whole_net)
    for row, whole_row in zip(history.to_rows(), wanted.to_rows(), strict=True):
        assert {**row, "seconds": 0} == {**whole_row, "seconds": 0}
    # Without memory for a batch, all its parts are taken again.
    assert steps == whole_steps or kind == "greedy"


@pytest.mark.usefixtures("at_each_step")
def test_the_time_of_an_epoch_counts_all_its_calls(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(KeyboardInterrupt):
        script.fit("tap", tmp_path / "run.pt", until(2, []))
    kept = load_tensors(tmp_path / "run.pt", argument="checkpoint", what="a checkpoint")
    kept["state"]["started"]["seconds"] += 1000.0
    save_tensors(kept, tmp_path / "run.pt")
    history = script.fit("tap", tmp_path / "run.pt")[2]
    assert 1000 < history[0].seconds < 2000
    assert history[1].seconds < 1000


def test_a_short_epoch_is_kept_at_its_end(script: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        script.fit("tap", tmp_path / "run.pt", until(3, []))
    assert not (tmp_path / "run.pt").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sums": torch.zeros(3)}, r"sums has the shape \(3,\), expected \(4,\)"),
        ({"done": -1}, "done is -1, expected an integer of at least 0"),
        ({"random": {}}, "it has no entry 'python'"),
    ],
)
@pytest.mark.usefixtures("at_each_step")
def test_a_damaged_place_is_refused(script: Any, tmp_path: Path, changes: Any, message: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        script.fit("tap", tmp_path / "run.pt", until(2, []))
    kept = load_tensors(tmp_path / "run.pt", argument="checkpoint", what="a checkpoint")
    kept["state"]["started"].update(changes)
    save_tensors(kept, tmp_path / "run.pt")
    with pytest.raises(ValueError, match=rf"run\.pt is damaged and cannot be resumed: {message}"):
        script.fit("tap", tmp_path / "run.pt")


@pytest.mark.usefixtures("at_each_step")
def test_a_surrogate_in_pretraining_goes_on_too(tmp_path: Path) -> None:
    def trained(checkpoint: Path | None, stop: int, steps: list[int]) -> nn.Module:
        dataset, net, generator = parts()
        samples, plan = Samples(dataset, generator.tasks), FitPlan(epochs=2, batch_size=8, augment=shaken)
        compute = Compute(torch.device("cpu"), progress=until(stop, steps))
        pretrain(mtlue.Surrogate(net, generator.tasks), samples, plan, compute, checkpoint=checkpoint)
        return net

    steps: list[int] = []
    for stop in (2, 5):
        with pytest.raises(KeyboardInterrupt):
            trained(tmp_path / "net.pt", stop, steps)
        steps.pop()
    assert same_state(trained(tmp_path / "net.pt", 0, steps), trained(None, 0, []))
    assert steps == [1, 2, 3, 4, 5, 6]
