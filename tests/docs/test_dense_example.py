"""The example of dense tasks and the benchmark made of it, from the command line to their figures, on tiny rooms of noise."""

from __future__ import annotations

import json
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

import dense
import dense_default
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
    for ages in ("1", "1 2", "1 --surrogates 2"):
        monkeypatch.setattr(sys, "argv", f"{command} {ages}".split())
        dense_surrogate.main()
        found.append(json.loads(figures.read_text())["runs"])
    assert [(run["trained_on"], run["surrogates"], run["surrogate_epochs"]) for run in found[2]] == [
        ("clean", 0, None),
        ("random noise", 0, None),
        ("MTL-UE-TAP", 1, 1),
        ("MTL-UE-TAP", 1, 2),
        ("MTL-UE-TAP", 2, 1),
    ]
    assert found[1][:3] == found[0]
    assert found[2][:4] == found[1]
    monkeypatch.setattr(render, "RESULTS", tmp_path)
    lines = render.dense_surrogate_table().splitlines()
    assert [line.split(" | ")[:4] for line in lines[2:]] == [
        ["| clean", "–", "–", "0"],
        ["| random noise", "–", "–", "0"],
        ["| MTL-UE-TAP", "1", "1", "0"],
        ["| MTL-UE-TAP", "1", "2", "0"],
        ["| MTL-UE-TAP", "2", "1", "0"],
    ]
    depth = [run["metrics"]["depth"]["absolute_error"] for run in found[2]]
    assert f"| {depth[4]:.3g} ({depth[4] / depth[0]:.2f}) |" in lines[-1]


def test_what_the_default_leaves_is_measured_once_and_becomes_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_rooms(tmp_path / "rooms", train=4, test=2, size=16)
    monkeypatch.setattr(dense_default, "VICTIM_EPOCHS", 1)
    # The default itself takes minutes.
    monkeypatch.setattr(dense_default, "protected", lambda clean, tasks, path, *, seed: clean)
    figures = tmp_path / "dense-default.json"
    command = f"dense_default.py --rooms {tmp_path / 'rooms'} --size 16 --json {figures} --work {tmp_path / 'work'} --seeds"
    for seeds in ("0", "0 1"):
        before = json.loads(figures.read_text())["runs"] if figures.exists() else []
        monkeypatch.setattr(sys, "argv", f"{command} {seeds}".split())
        dense_default.main()
        found = json.loads(figures.read_text())
        assert found["runs"][: len(before)] == before
    made = [(run["trained_on"], run["victim"]) for run in found["runs"] if run["seed"] == 1]
    assert made == [
        ("clean", "multi-task"),
        ("clean", "single-task"),
        ("clean", "JPEG 10"),
        ("random noise", "multi-task"),
        ("mtlue.protect", "multi-task"),
        ("mtlue.protect", "single-task"),
        ("mtlue.protect", "JPEG 10"),
    ]
    depth = {
        (run["victim"], run["trained_on"], run["seed"]): run["metrics"]["depth"]["absolute_error"] for run in found["runs"]
    }
    lines = {tuple(line.split(" | ")[:2]): line.split(" | ") for line in dense_default.table(found).splitlines()}
    assert lines["| multi-task", "clean"][4] == f"{(depth['multi-task', 'clean', 0] + depth['multi-task', 'clean', 1]) / 2:.3g}"
    ratios = [depth["JPEG 10", "clean", seed] / depth["multi-task", "clean", seed] for seed in (0, 1)]
    assert lines["| JPEG 10", "clean"][4].startswith(f"{sum(ratios) / 2:.2f} × ({min(ratios):.2f} to")
    assert lines["| single-task", "mtlue.protect"][3] == "1.00 × (1.00 to 1.00)"


@pytest.mark.filterwarnings("ignore:protect")
def test_the_protected_set_is_kept_with_what_its_check_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = [(torch.rand(3, 8, 8), index % 2) for index in range(8)]
    generator = mtlue.UEGenerator({"shape": 2}, (3, 8, 8), width=2)
    generator.trained = True  # the default itself takes minutes
    monkeypatch.setattr(mtlue, "protect", partial(mtlue.protect, generator=generator))
    tasks: dict[str, mtlue.Task] = {"shape": mtlue.Classification(2)}
    first = dense_default.protected(clean, tasks, tmp_path / "set", seed=0)
    monkeypatch.delattr(mtlue, "protect")
    again = dense_default.protected(clean, tasks, tmp_path / "set", seed=0)
    assert mtlue.Check.from_json((tmp_path / "set.check.json").read_text()).images == (0, 0)
    assert torch.equal(first[0][0], again[0][0])
