"""The benchmark of threats: what each attack takes off, a run that is not made again, and the page's table."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import mtlue
import render
import threat
from measure import attacks
from measure.cells import Cells
from measure.measuring import Scale, Stick
from measure.recipes import STUDENTS
from measure.sets import Data, Images
from measure.storing import NEAREST, stored
from measure.threats import ATTACKS
from measure.victims import Training
from multi_fashion import MultiFashion

TINY = Scale(16, 96, 64, 192, 2, Training(epochs=1, width=2, batch_size=16))
RECIPE = replace(STUDENTS, batch_size=16)
# Those for which 96 images are enough.
FEASIBLE = [attack for attack in ATTACKS if attack.known < 96]


@pytest.fixture(scope="module")
def faded() -> Data:
    """Canvases of three tasks whose values stay away from black and white by more than the budget."""
    canvases = MultiFashion(192, train=True)
    pixels = (canvases.images.float() * 0.8 + 20).round().to(torch.uint8)
    images = Images(pixels, canvases.targets)
    return Data("multi-fashion", MultiFashion.tasks, images, images, flips=False)


def with_patterns(data: Data, *tasks: str) -> Tensor:
    """Images with a coarse pattern of a few levels for each class of some tasks."""
    random = torch.Generator().manual_seed(0)
    levels = torch.zeros(data.train.pixels.shape)
    for name in tasks:
        cells = torch.randint(-1, 2, (data.tasks[name], levels.shape[1], 4, 4), generator=random)
        patterns = F.interpolate(6.0 / len(tasks) * cells, size=levels.shape[2:])
        levels += patterns[data.train.labels[name]]
    return (data.train.pixels + levels).to(torch.uint8)


def test_the_key_takes_off_what_it_put_on(faded: Data) -> None:
    torch.manual_seed(0)
    key = mtlue.UEGenerator(dict(faded.tasks), (1, 16, 16), width=4).eval()
    protected = stored(key, faded, how=NEAREST)
    found = attacks.invert(key, protected, faded.train.labels)
    assert attacks.psnr(found, faded.train.pixels) > attacks.psnr(protected, faded.train.pixels) + 20


def test_means_of_classes_are_found_where_a_perturbation_is_their_sum(faded: Data) -> None:
    protected = with_patterns(faded, *faded.tasks)
    found = attacks.subtract_means(faded, protected, 128)
    assert attacks.psnr(found[128:], faded.train.pixels[128:]) > attacks.psnr(protected, faded.train.pixels) + 6
    # One pair tells little, and makes nothing worse by much.
    poor = attacks.subtract_means(faded, protected, 1)
    assert attacks.psnr(poor, faded.train.pixels) > attacks.psnr(protected, faded.train.pixels) - 1


def test_a_network_learns_to_take_patterns_off(faded: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacks, "_STEPS", 40)
    protected, before = with_patterns(faded, "front"), torch.get_rng_state()
    found = attacks.learn_perturbations(faded, protected, 128, seed=0)
    assert torch.equal(torch.get_rng_state(), before)
    assert attacks.psnr(found[128:], faded.train.pixels[128:]) > attacks.psnr(protected, faded.train.pixels) + 1


def test_the_middle_of_opposite_changes_is_the_clean_image(faded: Data) -> None:
    clean = faded.train.pixels
    assert torch.equal(attacks.average(clean + 8, clean - 8), clean)
    assert torch.equal(attacks.average(clean + 8, clean + 8), clean + 8)


def test_nearness_by_hand() -> None:
    assert attacks.psnr(torch.tensor([10, 20]), torch.tensor([10, 20])) == math.inf
    assert attacks.psnr(torch.tensor([0, 255]), torch.tensor([255, 0])) == 0
    assert attacks.psnr(torch.tensor([18]), torch.tensor([10])) == pytest.approx(20 * math.log10(255 / 8))


def test_blur_keeps_what_is_even_and_spreads_a_point() -> None:
    assert torch.allclose(attacks.blurred(torch.full((2, 3, 6, 6), 0.4)), torch.tensor(0.4))
    point = torch.zeros(1, 1, 9, 9)
    point[..., 4, 4] = 1
    spread = attacks.blurred(point)
    assert spread.sum() == pytest.approx(1)
    assert spread[0, 0, 4, 5] == spread[0, 0, 3, 4]
    assert spread[0, 0, 4, 4] < 0.2


def test_each_attack_gives_a_record_and_is_not_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attacks, "_STEPS", 3)
    stick = Stick(Cells(tmp_path, tmp_path / "none.json"), TINY, None)
    records = threat.run(stick, "drawings", RECIPE, FEASIBLE)
    assert [(record["has"], record["does"]) for record in records] == [(attack.has, attack.does) for attack in FEASIBLE]
    assert len({(attack.has, attack.does) for attack in ATTACKS}) == len(ATTACKS)
    assert set(records[0]["R"]) == set(stick.data("drawings").tasks)
    by_attack = {(record["has"], record["does"]): record for record in records}
    clean = by_attack["clean images", "trains on these"]
    assert clean["psnr"] is None
    protected = by_attack["nothing more", "trains on it as it is"]
    assert by_attack["the key", "inverts it"]["psnr"] > protected["psnr"]
    made = sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.rglob("*.json"))
    again = Stick(Cells(tmp_path, tmp_path / "none.json"), TINY, None)
    # As text: where clean images teach nothing either, R is no number, which equals nothing.
    assert str(threat.run(again, "drawings", RECIPE, FEASIBLE)) == str(records)
    assert sorted((path.name, path.stat().st_mtime_ns) for path in tmp_path.rglob("*.json")) == made


def test_the_command_line_writes_what_the_table_is_made_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threat, "SCALES", {"small": TINY})
    monkeypatch.setattr(threat, "RECIPES", {"students": RECIPE})
    monkeypatch.setattr(threat, "ATTACKS", FEASIBLE[:3])
    command = f"threat.py --sets drawings --recipe students --work {tmp_path / 'work'} --json {tmp_path / 'threat.json'}"
    monkeypatch.setattr(sys, "argv", command.split())
    threat.main()
    monkeypatch.setattr(render, "RESULTS", tmp_path)
    lines = render.threat_table().splitlines()
    assert [line.split(" | ")[:2] for line in lines[2:]] == [[f"| {a.has}", a.does] for a in FEASIBLE[:3]]
    mean = json.loads((tmp_path / "threat.json").read_text())["attacks"][1]["mean"]
    assert f" | {mean:.2f} (" in lines[3]


def test_the_page_shows_the_committed_figures() -> None:
    page = (Path(threat.__file__).parents[1] / "docs" / "threats.md").read_text()
    assert f"<!-- table: threat -->\n{render.threat_table()}\n<!-- end -->" in page
