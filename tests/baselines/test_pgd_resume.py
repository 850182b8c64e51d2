"""Searches on pixels that are interrupted and taken up again end as unbroken ones."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from broken_search import STEPS, interrupt_at, make_surrogate, same_files, search
from killed_run import same_state


# In the first batch, amid one, at the last step of one, at the first step of the next, in the last; with EM in each round.
@pytest.mark.parametrize(
    ("kind", "step"),
    [("frozen", step) for step in (1, 9, 12, 13, 24)] + [("em", step) for step in (1, 5, 6, 7, 12, 13, 17, 24, 25, 36)],
)
def test_an_interrupted_search_goes_on(whole_search: Any, tmp_path: Path, kind: str, step: int) -> None:
    folder, nets = whole_search
    with pytest.raises(KeyboardInterrupt):
        search(kind, tmp_path / "safe", progress=interrupt_at(step))
    assert not (tmp_path / "safe").exists()
    steps: list[int] = []
    net = make_surrogate()
    safe = search(kind, tmp_path / "safe", progress=lambda figures: steps.append(figures["step"]), net=net)
    # Batches that are done are not searched again: it goes on with the first step of the broken one.
    in_batch = STEPS if kind == "em" else 2 * STEPS
    assert steps == list(range((step - 1) // in_batch * in_batch + 1, (36 if kind == "em" else 24) + 1))
    assert same_files(tmp_path / "safe", folder / kind)
    assert same_state(net, nets[kind])
    assert same_state(net, make_surrogate()) == (kind == "frozen")
    memory = search(kind, None)
    assert all(torch.equal(safe[index][0], memory[index][0]) for index in range(20))
    assert [file.name for file in tmp_path.iterdir()] == ["safe"]


def test_a_call_may_be_interrupted_again_and_again(whole_search: Any, tmp_path: Path) -> None:
    net = make_surrogate()
    for step in (2, 4, 8, 14, 27, 35):
        with pytest.raises(KeyboardInterrupt):
            # The same surrogate, which the broken calls have trained.
            search("em", tmp_path / "safe", progress=interrupt_at(step), net=net)
    search("em", tmp_path / "safe", net=net)
    assert same_files(tmp_path / "safe", whole_search[0] / "em")
    assert same_state(net, whole_search[1]["em"])


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_it_may_be_interrupted_while_the_surrogate_is_trained(whole_search: Any, tmp_path: Path, turn: int) -> None:
    net, steps = make_surrogate(), []

    def interrupt(module: nn.Module, inputs: Any) -> None:
        if module.training:
            steps.append(1)
            if len(steps) == 4 * turn:
                raise KeyboardInterrupt

    hook = net.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        search("em", tmp_path / "safe", net=net)
    hook.remove()
    # The same surrogate, which the broken turn has changed.
    search("em", tmp_path / "safe", net=net)
    assert same_files(tmp_path / "safe", whole_search[0] / "em")
    assert same_state(net, whole_search[1]["em"])


def test_a_batch_that_was_half_written_is_written_again(whole_search: Any, tmp_path: Path) -> None:
    """The note of a batch comes first: whatever a kill leaves of that batch in the large file is replaced."""
    with pytest.raises(KeyboardInterrupt):
        search("em", tmp_path / "safe", progress=interrupt_at(20))
    # Step 20 lies in the third batch of the second round; the second, samples 6 to 11, was written last.
    (file,) = (tmp_path / "safe.partial" / "perturbations").glob("*/000001.bin")
    content = bytearray(file.read_bytes())
    assert len(content) == 2 * 20 * 6
    content[: 2 * 20 * 3] = bytes(2 * 20 * 3)
    file.write_bytes(content)
    search("em", tmp_path / "safe")
    assert same_files(tmp_path / "safe", whole_search[0] / "em")


@pytest.mark.parametrize("kind", ["frozen", "em"])
@pytest.mark.parametrize("where", ["before the clean-up", "amid the clean-up", "after the clean-up"])
def test_a_call_that_stops_at_its_very_end_goes_on(
    whole_search: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, where: str
) -> None:
    unlink, replace = Path.unlink, os.replace
    left = {"before the clean-up": 0, "amid the clean-up": 2, "after the clean-up": 100}[where]

    def stop_amid(path: Path, missing_ok: bool = False) -> None:
        nonlocal left
        if path.exists() and (tmp_path / "safe.partial" / "shards" / "images-000000.bin").exists():
            if not left:
                raise KeyboardInterrupt
            left -= 1
        unlink(path, missing_ok=missing_ok)

    def stop_after(source: Any, target: Any) -> None:
        if Path(target) == tmp_path / "safe":
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", stop_amid)
        patch.setattr(os, "replace", stop_after)
        with pytest.raises(KeyboardInterrupt):
            search(kind, tmp_path / "safe")
    assert not (tmp_path / "safe").exists()
    net = make_surrogate()
    search(kind, tmp_path / "safe", net=net)
    assert same_files(tmp_path / "safe", whole_search[0] / kind)
    assert same_state(net, whole_search[1][kind])


def test_a_search_that_ended_early_stays_ended(tmp_path: Path) -> None:
    early = {"stop_accuracy": 0.01}
    memory = search("em", None, **early)
    with pytest.raises(KeyboardInterrupt):
        search("em", tmp_path / "safe", progress=interrupt_at(12), **early)
    steps: list[Any] = []
    safe = search("em", tmp_path / "safe", progress=steps.append, **early)
    assert [(figures["step"], figures["round"]) for figures in steps] == [(10, 1), (11, 1), (12, 1)]
    assert all(torch.equal(safe[index][0], memory[index][0]) for index in range(20))


@pytest.mark.parametrize("kind", ["frozen", "em"])
@pytest.mark.parametrize("at", range(4))
def test_a_search_that_stops_amid_the_clean_up_finds_its_store(
    whole_search: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, at: int
) -> None:
    unlink, left = os.unlink, at

    def stop(path: Any, **named: Any) -> None:
        nonlocal left
        if (tmp_path / "safe").exists():
            if not left:
                raise KeyboardInterrupt
            left -= 1
        unlink(path, **named)

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", stop)
        with pytest.raises(KeyboardInterrupt):
            search(kind, tmp_path / "safe")
    (tmp_path / "safe.partial.lock").unlink(missing_ok=True)
    if not (tmp_path / "safe.partial" / "manifest.json").exists():
        assert (kind, at) == ("frozen", 3)
        return
    net = make_surrogate()
    safe = search(kind, tmp_path / "safe", net=net)
    assert same_files(tmp_path / "safe", whole_search[0] / kind)
    assert same_state(net, whole_search[1][kind])
    assert len(safe) == 20
    assert [file.name for file in tmp_path.iterdir()] == ["safe"]
