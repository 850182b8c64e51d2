"""Losses with networks and a state of their own: they learn, and a run that was killed goes on with them."""

from __future__ import annotations

import copy
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import mtlue
from killed_run import Students, kill, parts, same_state
from mtlue import baselines
from own_losses import MarginPush
from snapshots import equal


def test_an_ensemble_gives_its_gradient_and_then_learns() -> None:
    dataset, net, generator = parts()
    images = torch.stack([image for image, _ in dataset]).float() / 255
    targets = {"task0": torch.tensor([a for _, (a, _) in dataset]), "task1": torch.tensor([b for _, (_, b) in dataset])}
    loss, surrogate = Students(), mtlue.Surrogate(net, generator.tasks)
    twins = copy.deepcopy(loss.checkpoints)
    leaf = images.clone().requires_grad_()
    expected = torch.stack([surrogate.with_module(twin).loss(leaf, targets) for twin in twins]).mean()
    gradient = torch.autograd.grad(expected, leaf)[0]
    leaf = images.clone().requires_grad_()
    value = loss(surrogate, leaf, targets)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, leaf)[0], gradient)
    assert not same_state(loss.checkpoints[0], twins[0])


def spied(monkeypatch: pytest.MonkeyPatch, script: ModuleType) -> list[Students]:
    """The losses of the runs to come."""
    made: list[Students] = []
    loss_of = script.loss_of

    def keep(kind: str) -> Any:
        made.append(loss_of(kind))
        return made[-1]

    monkeypatch.setattr(script, "loss_of", keep)
    return made


# Amid the first epoch, or the third; each has three steps.
@pytest.mark.parametrize(("kind", "step"), [("students", 2), ("students", 8), ("students and surrogate", 8)])
def test_a_fit_that_was_killed_goes_on_with_the_state(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, step: int
) -> None:
    losses = spied(monkeypatch, script)
    kill("fit", kind, tmp_path / "run.pt", "fit", step)
    generator, net, _ = script.fit(kind, tmp_path / "run.pt")
    whole_generator, whole_net, _ = script.fit(kind, None)
    assert same_state(generator, whole_generator)
    assert same_state(net, whole_net)
    assert equal(losses[0].state_dict(), losses[1].state_dict())
    # Neither a probe nor the first look is a step, and a part that was run again counts once.
    assert losses[0]._calls == 5 * 3


@pytest.mark.parametrize(("stage", "step"), [("fit", 8), ("protect", 3)])
def test_a_protection_that_was_killed_goes_on_with_the_state(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str, step: int
) -> None:
    losses = spied(monkeypatch, script)
    kill("protect", "students", tmp_path / "broken", stage, step)
    broken, whole = script.protect("students", tmp_path / "broken"), script.protect("students", tmp_path / "whole")
    assert same_state(broken.generator, whole.generator)
    assert equal(losses[0].state_dict(), losses[1].state_dict())
    assert_same_files(tmp_path)


def assert_same_files(folder: Path) -> None:
    for name in ("images-000000.bin", "manifest.json"):
        assert (folder / "broken" / name).read_bytes() == (folder / "whole" / name).read_bytes()
    assert sorted(file.name for file in (folder / "broken").iterdir()) == ["images-000000.bin", "manifest.json"]
    assert sorted(file.name for file in folder.iterdir()) == ["broken", "whole"]


# Three batches: frozen of six steps each, in turn of three steps each in two rounds.
@pytest.mark.parametrize(
    ("kind", "step"),
    [("students", 2), ("students", 14), *(("students and surrogate", step) for step in (5, 10, 14))],
)
def test_a_search_that_was_killed_goes_on_with_the_state(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, step: int
) -> None:
    losses = spied(monkeypatch, script)
    kill("pgd", kind, tmp_path / "broken", "pgd", step)
    script.pgd(kind, tmp_path / "broken")
    script.pgd(kind, tmp_path / "whole")
    assert equal(losses[0].state_dict(), losses[1].state_dict())
    assert losses[0]._calls == 18
    assert_same_files(tmp_path)


@pytest.mark.parametrize("kind", ["students", "students and surrogate"])
@pytest.mark.parametrize(("verb", "step"), [("fit", 2), ("fit", 8), ("protect", 2), ("protect", 8), ("pgd", 2), ("pgd", 11)])
def test_a_call_that_is_repeated_with_the_same_loss_goes_on(
    script: ModuleType, tmp_path: Path, kind: str, verb: str, step: int
) -> None:
    """In one process: the broken call has trained the loss, and another call had before it."""
    loss = script.loss_of(kind)
    images = torch.rand(6, 1, 10, 9).requires_grad_()
    loss(
        mtlue.Surrogate(script.parts()[1], {"task0": 2, "task1": 2}),
        images,
        dict.fromkeys(("task0", "task1"), torch.ones(6).long()),
    )
    twin = script.loss_of(kind)
    twin.load_state_dict(copy.deepcopy(loss.state_dict()))

    def interrupt(figures: Any) -> None:
        if figures["step"] == step:
            raise KeyboardInterrupt

    run = getattr(script, verb)
    with pytest.raises(KeyboardInterrupt):
        run(kind, tmp_path / "broken", progress=interrupt, loss=loss)
    broken = run(kind, tmp_path / "broken", loss=loss)
    whole = run(kind, tmp_path / "whole", loss=twin)
    assert equal(loss.state_dict(), twin.state_dict())
    if verb == "fit":
        assert same_state(broken[0], whole[0])
    else:
        assert_same_files(tmp_path)


@pytest.mark.parametrize("form", ["modules", "states", "module list"])
def test_an_untrained_ensemble_is_warned_of_as_sep_is(canvases: Any, net: nn.Module, make_net: Any, form: str) -> None:
    class Ensemble(mtlue.BaseUELoss):
        needs_trained_surrogate = True

        def __init__(self, checkpoints: Any) -> None:
            self.checkpoints = checkpoints

        def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
            return mtlue.SEP(self.checkpoints)(surrogate, images, targets)

    untrained = make_net(seed=4)
    with torch.no_grad():
        for parameter in untrained.parameters():
            parameter.zero_()

    def networks(last: nn.Module) -> Any:
        modules = [copy.deepcopy(net), last]
        return (
            nn.ModuleList(modules)
            if form == "module list"
            else [module if form == "modules" else module.state_dict() for module in modules]
        )

    settings: dict[str, Any] = {"tasks": {"shoe": 2, "front": 2}, "steps": 1, "batch_size": 48, "progress": False}
    words = "surrogate: no better than chance on the clean data, it looks untrained; {} needs a surrogate"
    for kind in (mtlue.SEP, Ensemble):
        with pytest.warns(UserWarning, match=words.format(kind.__name__)):
            baselines.pgd(canvases, surrogate=net, loss=kind(networks(untrained)), **settings)
        # The last counts, and not the surrogate.
        baselines.pgd(canvases, surrogate=untrained, loss=kind(networks(copy.deepcopy(net))), **settings)


def test_an_ensemble_without_a_surrogate_trains_all_its_networks(script: ModuleType) -> None:
    """The last of them stands for the surrogate, which is frozen."""
    dataset, _, generator = script.parts()
    loss = Students()
    before = copy.deepcopy(loss.checkpoints)
    mtlue.protect(dataset, generator=generator, loss=loss, epochs=1, batch_size=8, progress=False)
    assert all(not torch.equal(left[2].weight, right[2].weight) for left, right in zip(before, loss.checkpoints, strict=True))


def test_a_surrogate_that_is_frozen_cannot_learn_in_the_loss(script: ModuleType) -> None:
    dataset, _, generator = script.parts()
    loss = Students()
    with pytest.raises(
        ValueError, match=r"^surrogate: Students trains the same module, but as the surrogate it is frozen; give copy"
    ):
        mtlue.fit(generator, dataset, loss.checkpoints[0], loss=loss, progress=False)


def test_a_loss_that_trains_networks_sees_their_last_weights(script: ModuleType) -> None:
    enabled: list[tuple[bool, bool]] = []

    class Asking(Students):
        def __call__(self, *given: Any) -> Tensor:
            enabled.append((torch.is_autocast_enabled("cpu"), torch.is_autocast_cache_enabled()))
            return super().__call__(*given)

    script.fit("", None, loss=Asking(), epochs=1, precision=torch.bfloat16)
    assert set(enabled) == {(True, False)}
    assert torch.is_autocast_cache_enabled()


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"state_dict": lambda _: {}}, r"^loss: Broken has a state_dict, but no load_state_dict to take it back$"),
        (
            {"state_dict": lambda _: {"memory": [1.0, object()]}, "load_state_dict": None},
            r"^loss: expected tensors and plain values in the state of Broken, got object at state_dict\(\)\['memory'\]\[1\]$",
        ),
        ({"checkpoints": ["net.pt"]}, r"^checkpoints\[0\]: expected a module or a state dict, got str$"),
        ({"checkpoints": nn.Linear(2, 2)}, r"^checkpoints: expected a list of modules or state dicts, got Linear$"),
    ],
    ids=["one half", "no plain value", "a path", "one module"],
)
def test_a_loss_with_broken_parts_is_refused(script: ModuleType, part: Any, message: str) -> None:
    broken = type("Broken", (MarginPush,), part)(1.0)
    with pytest.raises(TypeError, match=message):
        script.fit("", None, loss=broken)
    with pytest.raises(TypeError, match=message):
        script.pgd("", None, loss=broken)
