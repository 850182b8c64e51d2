"""The tables of label maps, on a tiny folder in the layout of NYUv2."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import paper_tables
from noise_rooms import write_rooms
from paper.dense_tables import METRICS, make_dense_tables
from paper.layout import to_markdown, value
from paper.methods import OURS, PIXELWISE, perturbed
from paper.scales import DENSE_SCALES, SetScale
from paper.specs import Data, Protection, Victim
from paper.store import Store
from paper.victims import measure
from paper.workshop import Workshop

TINY = replace(
    DENSE_SCALES["small"],
    sets={"rooms": SetScale(8, 4, 1.0, 1, 2, 1, 1, 1)},
    width=2,
    batch_size=4,
    tap_steps=1,
    sep_steps=1,
    em_rounds=1,
    em_steps=1,
)
TABLES = make_dense_tables(
    paper_tables.SETS["small"],
    backbones=paper_tables.DENSE_BACKBONES["small"],
    resnet=paper_tables.DENSE_RESNET["small"],
    added=("MTL-UE-Mine",),
    own_backbones=("mine",),
)

# A surrogate of one epoch on 8 images has learned nothing.
pytestmark = pytest.mark.filterwarnings("ignore:surrogate. no better than chance")


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    """A workshop with ten rooms of noise, of which the scale takes eight."""
    write_rooms(tmp_path / "rooms", train=10, test=4, size=16)
    return Workshop(TINY, Store(tmp_path / "work", tmp_path / "cells.json"), {"rooms": tmp_path / "rooms"})


def test_there_are_the_papers_tables_each_with_the_control() -> None:
    assert set(TABLES) == {"4", "4 single-task", "9", "13", "14", "15"}
    for table in TABLES.values():
        assert {"clean", "random noise"} < {victim.protection.method for victim in table.victims(1)}, table.name
        assert all(row in table.rows for row in ("clean", "random noise")), table.name
    assert "MTL-UE-Mine" in TABLES["4"].rows
    assert "mine" in {victim.backbone for victim in TABLES["13"].victims(1)}
    assert {victim.architecture for victim in TABLES["15"].victims(1)} == {"cross-stitch", "mtan", "ltb"}
    # A victim learns one task, and its columns show that one's metrics.
    for column in TABLES["4 single-task"].columns:
        assert [victim.task for victim in column.cells("TAP", 0)] == list(column.tasks)


def test_the_metrics_are_those_that_are_measured(workshop: Workshop) -> None:
    record = measure(workshop, Victim(Protection(Data("rooms"), "clean", 0)))
    assert {task: set(names) for task, names in METRICS.items()} == {
        task: set(figures) for task, figures in record["metrics"].items()
    }
    assert "deviation" not in record


@pytest.mark.parametrize("method", ["random noise", *PIXELWISE, *OURS])
def test_each_method_makes_a_set_that_a_victim_is_trained_on(workshop: Workshop, method: str) -> None:
    spec = Protection(Data("rooms"), method, 0)
    clean = workshop.splits(spec.data).train
    assert len(clean) == 8
    images = perturbed(workshop, spec)
    change = (images.images.int() - clean.images.int()).abs()
    assert bool(change.flatten(1).any(dim=1).all())
    assert int(change.max()) <= 8
    assert all(torch.equal(images.labels[task], clean.labels[task]) for task in METRICS)
    record = measure(workshop, Victim(spec, task="depth"))
    assert set(record["metrics"]) == {"depth"}


@pytest.mark.parametrize(
    "changes",
    [
        {"backbone": "wide-unet"},
        {"backbone": "dilated-wide"},
        {"backbone": "dilated-resnet", "architecture": "mtan"},
        {"backbone": "dilated-resnet", "architecture": "cross-stitch"},
        {"backbone": "dilated-resnet", "architecture": "ltb"},
        {"weighting": "Aligned-MTL"},
        {"task": "normals"},
    ],
    ids=str,
)
def test_each_kind_of_victim_can_be_trained(workshop: Workshop, changes: dict[str, Any]) -> None:
    record = measure(workshop, Victim(Protection(Data("rooms"), "clean", 0), **changes))
    assert set(record["metrics"]) == ({changes["task"]} if "task" in changes else set(METRICS))


def test_part_of_the_samples_and_the_rest(workshop: Workshop) -> None:
    spec = Protection(Data("rooms"), "MTL-UE-SEP", 0, fraction=0.25)
    clean = workshop.splits(spec.data).train
    changed = (perturbed(workshop, spec).images != clean.images).flatten(1).any(1)
    rest = perturbed(workshop, replace(spec, rest_only=True))
    assert int(changed.sum()) == 2
    assert torch.equal(rest.images, clean.images[~changed])
    assert torch.equal(rest.labels["depth"], clean.labels["depth"][~changed])


def test_what_is_left_out_is_trained_on_for_as_many_steps(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings: list[tuple[int, int]] = []
    train = Workshop.train

    def noted(self: Workshop, dataset: Any, *arguments: Any, epochs: int, **options: Any) -> Any:
        trainings.append((len(dataset), epochs))
        return train(self, dataset, *arguments, epochs=epochs, **options)

    monkeypatch.setattr(Workshop, "train", noted)
    for row in ("80 % protected", "80 % left out"):
        (victim,) = TABLES["9"].columns[0].cells(row, 0)
        measure(workshop, victim)
    # Of eight samples six are protected.
    assert (trainings[-2], trainings[-1]) == ((8, 1), (2, 4))


def test_values_of_a_case_worked_out_by_hand(workshop: Workshop) -> None:
    columns = {column.title: column for column in TABLES["4"].columns}

    def put(method: str, miou: float, error: float) -> None:
        (victim,) = columns["mIoU"].cells(method, 0)
        metrics = {"segmentation": {"miou": miou}, "depth": {"absolute_error": error}}
        workshop.store.put(workshop.key(victim), {"metrics": metrics})

    put("clean", 0.4, 0.5)
    put("TAP", 0.1, 0.8)
    share, error = (value(workshop, columns[title], "TAP", 1) for title in ("mIoU", "AErr"))
    assert share is not None
    assert error is not None
    assert (share.mean, share.share, share.residual) == (pytest.approx(10.0), pytest.approx(0.25), None)
    assert (error.mean, error.share) == (pytest.approx(0.8), pytest.approx(1.6))
    text = to_markdown(workshop, replace(TABLES["4"], columns=[columns["mIoU"], columns["AErr"]]), 1, "caption")
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert lines["TAP"] == "| TAP | 10.0 (0.25) | 21.96 | 0.800 (1.60) | 0.6412 |"
    assert lines["clean"] == "| clean | 40.0 | 53.05 | 0.500 | 0.392 |"
    assert lines["SEP"] == "| SEP | not run | 11.41 | not run | 0.7113 |"


def test_a_plugin_adds_to_the_dense_tables_what_it_has_for_them(workshop: Workshop, tmp_path: Path) -> None:
    plugin = Path(paper_tables.__file__).parents[1] / "examples" / "own_method.py"
    arguments = argparse.Namespace(
        work=tmp_path / "work", results=tmp_path, scale="small", plugin=[plugin], **dict.fromkeys(paper_tables.FOLDERS)
    )
    made = paper_tables.make_workshop(arguments, TINY, hook="add_to_dense")
    assert (set(made.losses), set(made.models)) == ({"MTL-UE-Confuse"}, {"two-layers"})
    workshop.losses, workshop.models = made.losses, made.models
    record = measure(workshop, Victim(Protection(Data("rooms"), "MTL-UE-Confuse", 0), backbone="two-layers"))
    assert set(record["metrics"]) == set(METRICS)
