"""The example of dense tasks and the benchmark made of it, from the command line to their figures, on tiny rooms of noise."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import dense
import dense_surrogate
import mtlue
import render
from noise_rooms import write_rooms


@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
def test_the_example_measures_and_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_rooms(tmp_path / "rooms", train=6, test=4, size=16)
    output = tmp_path / "output"
    command = f"dense.py --rooms {tmp_path / 'rooms'} --output {output} --size 16 --count 5 --epochs 1"
    monkeypatch.setattr(sys, "argv", command.split())
    dense.main()
    said = capsys.readouterr().out
    assert "Protecting 5 images" in said
    assert "On 4 clean test images" in said
    found = json.loads((output / "figures.json").read_text())
    assert set(found) == {"clean images", "protected images"}
    assert set(found["clean images"]) == {"segmentation", "depth", "normals"}
    assert all((output / name).read_bytes().startswith(b"\x89PNG") for name in ("perturbations.png", "answers.png"))


@pytest.mark.filterwarnings("ignore:surrogate. no better than chance")
def test_the_benchmark_goes_on_where_it_stopped_and_becomes_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rooms(tmp_path / "rooms", train=4, test=2, size=16)
    monkeypatch.setattr(dense_surrogate, "GENERATOR_EPOCHS", 1)
    monkeypatch.setattr(dense_surrogate, "VICTIM_EPOCHS", 1)
    figures = tmp_path / "dense-surrogate.json"
    command = f"dense_surrogate.py --rooms {tmp_path / 'rooms'} --size 16 --json {figures} --seeds 0 --surrogate-epochs"
    found = []
    for ages in ("1", "1 2", "1 --surrogates 2", "--default"):
        if ages == "--default":  # it takes minutes
            monkeypatch.setattr(mtlue, "protect", lambda clean, *, tasks, seed: clean)
        monkeypatch.setattr(sys, "argv", f"{command} {ages}".split())
        dense_surrogate.main()
        found.append(json.loads(figures.read_text())["runs"])
    assert [(run["trained_on"], run["surrogates"], run["surrogate_epochs"]) for run in found[3]] == [
        ("clean", 0, None),
        ("random noise", 0, None),
        ("MTL-UE-TAP", 1, 1),
        ("MTL-UE-TAP", 1, 2),
        ("MTL-UE-TAP", 2, 1),
        ("mtlue.protect", 0, None),
    ]
    assert found[1][:3] == found[0]
    assert found[2][:4] == found[1]
    assert found[3][:5] == found[2]
    monkeypatch.setattr(render, "RESULTS", tmp_path)
    lines = render.dense_surrogate_table().splitlines()
    assert [line.split(" | ")[:4] for line in lines[2:]] == [
        ["| clean", "–", "–", "0"],
        ["| mtlue.protect", "–", "–", "0"],
        ["| random noise", "–", "–", "0"],
        ["| MTL-UE-TAP", "1", "1", "0"],
        ["| MTL-UE-TAP", "1", "2", "0"],
        ["| MTL-UE-TAP", "2", "1", "0"],
    ]
    depth = [run["metrics"]["depth"]["absolute_error"] for run in found[2]]
    assert f"| {depth[4]:.3g} ({depth[4] / depth[0]:.2f}) |" in lines[-1]
