"""The benchmark of many attributes: what it changes, and its loss with surrogates that start anew."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import many_attributes
import mtlue
import render
from many_attributes import RESTART, RESTARTED, SEVERAL, Change, SteppedEM
from noise_avatars import write_avatars
from paper.scales import SMALL, SetScale

TASKS = {"shape": 2}


@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
def test_each_change_is_a_run_that_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, part in enumerate(("train", "test", "pretrain/train")):
        write_avatars(tmp_path / "avatars" / part, count=300, seed=seed)
    changes = {"none": Change(("MTL-UE-TAP",)), "wide": Change((SEVERAL, RESTARTED), {"width": 4}, {"generator_epochs": 2})}
    monkeypatch.setattr(many_attributes, "CHANGES", changes)
    sizes = SetScale(64, 300, 0.4, 1, 2, 1, 1, 1)
    monkeypatch.setattr(many_attributes, "SMALL", replace(SMALL, sets={"avatars": sizes}, width=2, batch_size=32))
    file, work = tmp_path / "runs.json", tmp_path / "work"
    command = f"many_attributes.py --avatars {tmp_path / 'avatars'} --work {work} --json {file}"
    monkeypatch.setattr(sys, "argv", command.split())
    many_attributes.main()
    written = file.read_text()
    assert [(run["change"], run["method"]) for run in json.loads(written)["runs"]] == [
        ("", "clean"),
        ("none", "MTL-UE-TAP"),
        ("wide", SEVERAL),
        ("wide", RESTARTED),
    ]
    monkeypatch.setattr(render, "RESULTS", tmp_path)
    file.rename(tmp_path / "many-attributes.json")
    lines = render.many_attributes_table().splitlines()
    assert [line.split(" | ")[:2] for line in lines[2:]] == [
        ["| –", "clean"],
        ["| none", "MTL-UE-TAP"],
        ["| wide", SEVERAL],
        ["| wide", RESTARTED],
    ]
    assert lines[2].endswith("| – |")
    widths = sorted(mtlue.UEGenerator.load(path).width for path in (work / "generators").glob("*.pt"))
    assert widths == [2, 4, 4]
    made = sorted((path.name, path.stat().st_mtime_ns) for path in (work / "records").iterdir())
    many_attributes.main()
    assert file.read_text() == written
    assert sorted((path.name, path.stat().st_mtime_ns) for path in (work / "records").iterdir()) == made


def test_the_surrogate_learns_with_each_batch_and_starts_anew() -> None:
    made: list[nn.Module] = []

    def make(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        made.append(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
        return made[-1]

    given = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    before = {name: value.clone() for name, value in given.state_dict().items()}
    surrogate, loss = mtlue.Surrogate(given, TASKS), SteppedEM(make, learning_rate=0.1)
    images, targets = torch.rand(8, 1, 2, 2), {"shape": torch.arange(8) % 2}
    values = [loss(surrogate, images.requires_grad_(True), targets) for _ in range(RESTART + 1)]
    assert values[RESTART - 1] < values[0]
    assert values[RESTART] > values[RESTART - 1]
    assert len(made) == 2
    assert all(torch.equal(value, before[name]) for name, value in given.state_dict().items())
    # What has been learned from the images leads no gradient back to them: that of the loss alone does.
    (gradient,) = torch.autograd.grad(values[-1], images)
    expected = mtlue.Surrogate(made[-1], TASKS).loss(images, targets)
    assert torch.equal(gradient, torch.autograd.grad(expected, images)[0])
