"""The machinery of the tables: cells, store, and what a table says of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

import mtlue
import paper_tables
from paper.dense_tables import make_dense_tables
from paper.layout import to_markdown, value
from paper.methods import METHODS, OPS, OTHERS, SHORTCUTS, WithoutEmbeddings, WithoutLatent, perturbed
from paper.readers import DENSE, classes_of
from paper.scales import DENSE_SCALES, SCALES, SMALL, Scale, SetScale
from paper.specs import Data, Protection, Victim, key
from paper.store import Store
from paper.tables import make_tables
from paper.victims import measure
from paper.workshop import Workshop
from paper_tables import fill

TINY = Scale(
    sets={name: SetScale(64, 300, 0.4, 1, 2, 1, 1, 1) for name in ("multi-fashion", "avatars")},
    width=2,
    batch_size=32,
    learning_rate=3e-3,
    tap_steps=1,
    sep_steps=1,
    em_rounds=1,
    em_steps=1,
    one_cycle=True,
    backbone="resnet",
)
SETS = paper_tables.SETS["small"]


# A surrogate of one epoch on 64 images has learned nothing.
pytestmark = pytest.mark.filterwarnings("ignore:surrogate. no better than chance")


@pytest.fixture
def workshop(tmp_path: Path) -> Workshop:
    return Workshop(TINY, Store(tmp_path, tmp_path / "cells.json"))


def test_a_key_changes_with_everything_that_determines_a_cell() -> None:
    plain = Victim(Protection(Data("multi-fashion"), "TAP", 0))
    others: dict[type, Any] = {str: "other", int: 5, float: 0.5, bool: True, tuple: ("left",)}
    protections = [
        replace(plain.protection, **{each.name: others[type(getattr(plain.protection, each.name))]})
        for each in fields(Protection)
        if each.name != "data"
    ]
    changed = [
        plain,
        *(replace(plain, protection=protection) for protection in protections),
        *(replace(plain, **{each.name: "other"}) for each in fields(Victim) if each.name != "protection"),
        replace(plain, protection=replace(plain.protection, data=Data("multi-fashion", ("left",)))),
    ]
    keys = [key({"size": 1}, spec) for spec in changed] + [key({"size": 2}, plain)]
    assert len(set(keys)) == len(keys)
    assert key({"size": 1}, plain) == keys[0]


def test_a_generator_serves_every_share_and_choice_of_tasks() -> None:
    spec = Protection(Data("multi-fashion"), "MTL-UE-SEP", 0)
    assert replace(spec, protected=("left",), fraction=0.2, rest_only=True).generator == spec
    assert replace(spec, levels=4).generator != spec


def test_only_one_process_makes_a_cell(tmp_path: Path) -> None:
    first, second = Store(tmp_path, tmp_path / "no"), Store(tmp_path, tmp_path / "no")
    with first.claim("a") as mine, second.claim("a") as other, second.claim("b") as another:
        assert (mine, other, another) == (True, False, True)
    with second.claim("a") as mine:
        assert mine


def test_the_claim_of_another_process_holds_until_it_dies(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from paper.store import Store\n"
        "with Store(Path(sys.argv[1]), Path('no')).claim('a') as mine: print(mine, flush=True); time.sleep(600)"
    )
    paths = os.pathsep.join(str(Path(paper_tables.__file__).parents[1] / name) for name in ("benchmarks", "examples"))
    command = [sys.executable, "-c", code, str(tmp_path)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths})
    store = Store(tmp_path, tmp_path / "no")
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "True\n"
        with store.claim("a") as mine:
            assert not mine
    finally:
        child.kill()
        child.communicate()
    with store.claim("a") as mine:
        assert mine


def test_records_are_kept_and_committed_records_are_found(tmp_path: Path) -> None:
    store = Store(tmp_path / "work", tmp_path / "cells.json")
    store.put("a", {"x": 1})
    store.put("b", {"x": 2})
    store.commit(["b"])
    fresh = Store(tmp_path / "elsewhere", tmp_path / "cells.json")
    assert fresh.get("a") is None
    assert fresh.get("b") == {"x": 2}
    fresh.put("c", {"x": 3})
    fresh.commit(["c"])
    assert set(json.loads((tmp_path / "cells.json").read_text())) == {"b", "c"}


@pytest.mark.parametrize("method", ["random noise", *METHODS, *OTHERS])
def test_each_method_makes_a_set_that_a_victim_is_trained_on(workshop: Workshop, method: str) -> None:
    spec = Protection(Data("multi-fashion"), method, 0)
    clean = workshop.splits(spec.data).train
    change = (perturbed(workshop, spec).images.int() - clean.images.int()).abs()
    assert bool(change.flatten(1).any(dim=1).all())
    if method not in (*SHORTCUTS, OPS):  # these are bounded in another norm
        assert int(change.max()) <= 8
    record = measure(workshop, Victim(spec))
    assert set(record["metrics"]) == {"left", "right", "front"}
    assert all(0 <= each["balanced_accuracy"] <= 1 for each in record["metrics"].values())
    assert len(record["deviation"]) == 2
    assert json.loads(json.dumps(record))["spec"]["protection"]["method"] == method


# Without embeddings that is what the variant is.
@pytest.mark.filterwarnings("ignore:generator. its perturbations do not depend on the labels")
@pytest.mark.parametrize(
    "changes", [{"variant": "no embeddings"}, {"variant": "no latent"}, {"lambda_intra": 0.0}, {"levels": 2}], ids=str
)
def test_each_variant_of_the_generator_makes_a_set(workshop: Workshop, changes: dict[str, Any]) -> None:
    spec = Protection(Data("multi-fashion"), "MTL-UE-TAP", 0)
    images = [perturbed(workshop, each).images for each in (spec, replace(spec, **changes))]
    assert not torch.equal(*images)
    change = (images[1].int() - workshop.splits(spec.data).train.images.int()).abs()
    assert 0 < int(change.max()) <= changes.get("levels", 8)


@pytest.mark.parametrize(
    "changes",
    [
        {"task": "right"},
        {"backbone": "vgg"},
        {"backbone": "densenet"},
        {"backbone": "vit"},
        {"architecture": "mtan"},
        {"architecture": "cross-stitch"},
        {"architecture": "ltb"},
        {"weighting": "RLW"},
        {"defense": "pretrained backbone"},
        {"defense": "early stopping"},
        {"defense": "last-layer retraining"},
    ],
    ids=str,
)
def test_each_kind_of_victim_can_be_trained(workshop: Workshop, changes: dict[str, Any]) -> None:
    record = measure(workshop, Victim(Protection(Data("multi-fashion"), "clean", 0), **changes))
    assert set(record["metrics"]) == ({changes["task"]} if "task" in changes else {"left", "right", "front"})


def test_the_control_of_last_layer_retraining_sees_the_clean_images_alone(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("paper.victims._ALONE_STEPS", 1)
    sizes: list[int] = []
    train = Workshop.train

    def noted(self: Workshop, dataset: Any, *arguments: Any, **options: Any) -> Any:
        sizes.append(len(dataset))
        return train(self, dataset, *arguments, **options)

    monkeypatch.setattr(Workshop, "train", noted)
    measure(workshop, Victim(Protection(Data("multi-fashion"), "clean", 0), defense="200 clean images alone"))
    assert sizes == [200]


def test_the_rest_of_a_partly_protected_set_is_clean(workshop: Workshop) -> None:
    clean = workshop.splits(Data("multi-fashion")).train
    spec = Protection(Data("multi-fashion"), "MTL-UE-TAP", 0, fraction=0.25)
    mixed, rest = perturbed(workshop, spec), perturbed(workshop, replace(spec, rest_only=True))
    changed = (mixed.images != clean.images).flatten(1).any(1)
    assert int(changed.sum()) == 16
    assert torch.equal(rest.images, clean.images[~changed])


def test_no_label_reaches_the_decoder_without_embeddings_and_no_image_without_latent() -> None:
    tasks, images = {"a": 3}, torch.rand(2, 1, 8, 8)
    without = WithoutEmbeddings(tasks, (1, 8, 8), width=2)
    assert torch.equal(without(images, {"a": torch.tensor([0, 1])}), without(images, {"a": torch.tensor([2, 2])}))
    blind = WithoutLatent(tasks, (1, 8, 8), width=2)
    labels = {"a": torch.tensor([0, 1])}
    assert torch.equal(blind(images, labels), blind(1 - images, labels))
    assert not torch.equal(blind(images, labels), blind(images, {"a": torch.tensor([2, 2])}))


def test_filling_makes_each_cell_once_and_goes_on_after_a_failure(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def fake(_: Workshop, victim: Victim) -> dict[str, Any]:
        made.append(victim.task)
        if victim.task == "broken":
            raise RuntimeError("broken on purpose")
        return {"spec": asdict(victim), "metrics": {"left": {"balanced_accuracy": 0.5}}}

    monkeypatch.setattr("paper_tables.measure", fake)
    victims = [Victim(Protection(Data("multi-fashion"), "clean", 0), task=task) for task in ("left", "broken", "right")]
    assert fill(workshop, victims, until=float("inf")) == 1
    assert made == ["left", "broken", "right"]
    assert fill(workshop, victims[:1], until=float("inf")) == 0
    assert made == ["left", "broken", "right"]


def test_values_of_a_case_worked_out_by_hand(workshop: Workshop) -> None:
    table = make_tables(SETS)["2"]
    column = table.columns[0]

    def put(method: str, seed: int, left: float, front: float) -> None:
        metrics = {
            "left": {"balanced_accuracy": left},
            "right": {"balanced_accuracy": left},
            "front": {"balanced_accuracy": front},
        }
        workshop.store.put(workshop.key(column.cells(method, seed)[0]), {"metrics": metrics})

    assert value(workshop, column, "TAP", 2) is None
    put("TAP", 0, 0.2, 0.6)
    alone = value(workshop, column, "TAP", 2)
    assert alone is not None
    assert (alone.mean, alone.spread, alone.seeds, alone.residual) == (pytest.approx(100 / 3), 0.0, 1, None)
    put("clean", 0, 0.8, 0.9)
    put("clean", 1, 0.8, 0.9)
    put("TAP", 1, 0.1, 0.5)
    found = value(workshop, column, "TAP", 2)
    assert found is not None
    # The means over seeds of 1/3 and 0.7/3, and of R = (1/3 - 0.7/3) / (2.5/3 - 0.7/3) and 0.
    assert found.mean == pytest.approx(100 * (1 / 3 + 0.7 / 3) / 2)
    assert found.residual == pytest.approx((0.3 / 1.8) / 2)
    assert found.seeds == 2


def test_what_was_not_run_says_so_and_the_papers_figures_stand_beside(workshop: Workshop) -> None:
    text = to_markdown(workshop, make_tables(SETS)["2"], 1, "caption")
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("|")}
    assert set(lines) - {"trained on", "---"} == {"clean", "random noise", *METHODS, *OTHERS}
    assert "| 78.97 |" in lines["clean"]
    assert "not run" in lines["MTL-UE-TAP"]


def test_the_number_of_classes_is_that_of_the_set(workshop: Workshop) -> None:
    for task, classes in workshop.splits(Data("multi-fashion")).train.tasks.items():
        assert classes_of("multi-fashion", task) == classes


@pytest.mark.parametrize("scale", sorted(paper_tables.SETS))
def test_every_scale_has_all_tables(scale: str) -> None:
    tables = make_tables(paper_tables.SETS[scale], backbones=paper_tables.BACKBONES[scale])
    names = {victim.protection.data.name for table in tables.values() for victim in table.victims(1)}
    assert names == set(SCALES[scale].sets)
    dense = make_dense_tables(paper_tables.SETS[scale], resnet=paper_tables.DENSE_RESNET[scale])
    names = {victim.protection.data.name for table in dense.values() for victim in table.victims(1)}
    assert names == set(DENSE_SCALES[scale].sets) <= DENSE


def test_every_table_has_the_control_and_cells_at_the_small_scale() -> None:
    tables = make_tables(SETS, backbones=("vgg",), own_backbones=("mine",), added=("MTL-UE-Mine",))
    assert set(tables) == {"2", "3", "5", "6", "7", "8", "9 classes", "10", "11", "12", "figure 5"}
    for table in tables.values():
        assert "random noise" in table.rows, table.name
        methods = {victim.protection.method for victim in table.victims(1)}
        assert {"clean", "random noise"} < methods, table.name
        assert {victim.protection.data.name for victim in table.victims(1)} <= set(SMALL.sets), table.name
    for name in ("2", "3", "5", "6", "7", "10", "11", "12"):
        assert "MTL-UE-Mine" in {victim.protection.method for victim in tables[name].victims(1)}, name
    assert "mine" in {victim.backbone for victim in tables["5"].victims(1)}


def test_a_plugin_adds_a_loss_and_a_victim(workshop: Workshop) -> None:
    import own_method

    own_method.add_to(workshop)
    (loss,) = workshop.losses.values()
    assert isinstance(loss(), mtlue.BaseUELoss)
    record = measure(workshop, Victim(Protection(Data("multi-fashion"), "MTL-UE-Confuse", 0), backbone="pixels"))
    assert set(record["metrics"]) == {"left", "right", "front"}
