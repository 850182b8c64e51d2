"""The example of dense tasks, from the command line to its pictures, on a few tiny rooms of noise."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

import dense
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
