"""`protect` checks itself: what is weak is named, what is good is not, and nothing else changes."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mtlue
from mtlue._data import Samples, inspect_dataset
from mtlue._models import small_network
from mtlue._protect import checking
from mtlue._protect.attempts import Making
from mtlue._runtime import Compute
from small_rooms import ROOMS, rooms
from striped_garments import QUIET, TASKS, Garments, StoppedError, Stripes, check_that_finds, garments, stop


@pytest.fixture(scope="module")
def pale() -> Garments:
    return garments(400, contrast=0.15)


@pytest.fixture(scope="module")
def plain() -> Garments:
    return garments(200, contrast=0.4)


def found(call: Any) -> tuple[mtlue.Check, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        safe = call()
    return safe.check, [str(each.message) for each in caught]


@pytest.mark.filterwarnings("error")
def test_a_good_run_is_not_called_weak(pale: Garments) -> None:
    made = {"generator": Stripes("shoe", epsilon=16 / 255), **QUIET}
    before = torch.get_rng_state(), random.getstate()
    check = mtlue.protect(pale, **made).check
    assert check.verdict == {"shoe": "protected"}
    assert check.noise["shoe"] > 0.6
    assert check.images == (240, 160)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert mtlue.protect(pale, **made).check == check


def test_a_task_that_was_left_alone_is_a_control(plain: Garments) -> None:
    check, said = found(lambda: mtlue.protect(plain, generator=Stripes(), protected_tasks=["shoe"], **QUIET))
    assert check.verdict["top"] == "left learnable"
    assert set(check.single_task) == {"shoe"}
    assert not any("top" in text for text in said)


def test_one_step_is_called_weak(plain: Garments) -> None:
    torch.manual_seed(0)
    generator = mtlue.UEGenerator(TASKS, (1, 16, 16), width=4)
    surrogate = small_network(TASKS, (1, 16, 16), width=4, seed=0)
    run = {"generator": generator, "surrogate": surrogate, "loss": mtlue.EM(), "epochs": 1, **QUIET, "batch_size": 200}
    check, said = found(lambda: mtlue.protect(plain, **run))
    assert check.verdict == {"top": "not protected", "shoe": "not protected"}
    assert len(said) == 1
    for name in TASKS:
        assert f"{name}: a small network" in said[0]
    assert "What may help: leave out surrogate=" in said[0]


def test_the_default_is_not_advised_to_those_who_took_it(plain: Garments) -> None:
    _, said = found(lambda: mtlue.protect(plain, epochs=1, **QUIET))
    assert "What may help: more epochs; a larger epsilon; fewer protected_tasks, which then share the budget; " in said[-1]


@pytest.mark.parametrize("longer", [True, False])
@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize("names", [["a"], ["a", "b"]])
def test_only_what_can_help_is_advised(names: list[str], attempts: int, longer: bool) -> None:
    check = mtlue.Check(dict.fromkeys(names, 0.9), noise=dict.fromkeys(names, 1.0), protected_tasks=names, images=(99, 99))
    with pytest.warns(UserWarning, match="What may help") as said:
        checking.tell(check, fraction=1.0, attempts=attempts, default=True, longer=longer)
    assert ("more epochs" in str(said[0].message)) is longer
    assert ("attempts=3" in str(said[0].message)) is (attempts < 3)
    assert ("fewer protected_tasks" in str(said[0].message)) is (len(names) > 1)


def test_a_budget_of_one_level_is_called_weak(plain: Garments) -> None:
    check, said = found(lambda: mtlue.protect(plain, generator=Stripes("top", epsilon=1 / 255), **QUIET))
    assert set(check.verdict.values()) <= {"not protected", "weakly protected"}
    assert len(said) == 1
    assert "a larger epsilon" in said[0]


def test_shuffled_labels_are_called_weak(plain: Garments) -> None:
    order = torch.randperm(len(plain), generator=torch.Generator().manual_seed(0)).tolist()
    shuffled = [(image, plain[other][1]) for (image, _), other in zip(plain, order, strict=True)]
    check, said = found(lambda: mtlue.protect(shuffled, generator=Stripes(), **QUIET))
    assert set(check.verdict.values()) == {"cannot tell"}
    assert len(said) == 1
    assert said[0].startswith("check: cannot tell what is protected of 'top', 'shoe': ")
    assert said[0].endswith("do the labels belong to the images?")


def test_samples_that_are_left_clean_are_named_first(plain: Garments) -> None:
    _, said = found(lambda: mtlue.protect(plain, generator=Stripes("top"), fraction=0.1, **QUIET))
    assert "What may help: fraction=1.0; images that are left clean teach all there is to learn" in said[0]


@pytest.mark.filterwarnings("error")
def test_of_few_images_nothing_is_told_and_nothing_warned(plain: Garments, caplog: Any) -> None:
    with caplog.at_level("INFO", logger="mtlue.protect"):
        check = mtlue.protect(plain[:48], generator=Stripes(), **QUIET).check
    assert set(check.verdict.values()) == {"cannot tell"}
    assert "check: there are 48 images, and the check needs 64" in caplog.text


def test_it_is_left_out_where_it_is_not_wanted(pale: Garments, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(checking, "run_check", check_that_finds(0.0))
    safe = mtlue.protect(pale[:80], generator=Stripes(), path=tmp_path / "store", **QUIET)
    monkeypatch.setattr(checking, "run_check", None)
    plain_safe = mtlue.protect(pale[:80], generator=Stripes(), check=False, **QUIET)
    assert plain_safe.check is None
    assert all(torch.equal(plain_safe.stored_image(index), safe.stored_image(index)) for index in range(80))
    # What is published says nothing of it.
    assert {file.name for file in (tmp_path / "store").iterdir()} == {"images-000000.bin", "manifest.json"}
    assert "check" not in json.loads((tmp_path / "store" / "manifest.json").read_text())
    assert mtlue.ProtectedDataset.load(tmp_path / "store", pale[:80]).check is None


def test_maps_and_sizes_that_differ() -> None:
    dataset = [(image[:, : 12 - index % 2], {name: label[..., : 12 - index % 2, :] for name, label in target.items()})
        for index, (image, target) in enumerate(rooms(70, seed=0))]  # fmt: skip
    generator = mtlue.UEGenerator(ROOMS, (3, 12, 12), width=2)
    generator.trained = True
    check, _ = found(lambda: mtlue.protect(dataset, generator=generator.eval(), **QUIET))
    assert list(check.clean) == ["parts", "depth", "normals"]
    assert check.clean["parts"] > 0.05
    assert check.verdict["parts"] != "protected"


def test_images_of_several_sizes_are_checked_at_their_own(
    pale: Garments, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(checking, "run_check", check_that_finds(0.0))
    dataset = [(image[:, : 16 - (index == 3)], target) for index, (image, target) in enumerate(pale[:64])]
    # As the default makes it, for half of the images' size.
    half = mtlue.UEGenerator(TASKS, (1, 8, 8), width=2)
    half.trained = True
    with caplog.at_level("INFO", logger="mtlue.protect"):
        mtlue.protect(dataset, generator=half, **QUIET)
    assert "of 16 x 16 pixels" in caplog.text


def test_it_is_part_of_what_resumes(pale: Garments, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    call = {"generator": Stripes("top"), "path": tmp_path / "store", **QUIET}
    monkeypatch.setattr(checking, "run_check", check_that_finds(0.1))
    with monkeypatch.context() as patch:
        patch.setattr("mtlue._protect.stages.open_sink", stop)
        with pytest.raises(StoppedError):
            mtlue.protect(pale[:80], **call)
    kept = tmp_path / "store.partial" / "check.json"
    whole = kept.read_text()
    # A digit, half a file, and what a version without checksums wrote.
    for damaged in (whole.replace("0.1", "0.9"), whole[: len(whole) // 2], "[" * 100_000, mtlue.Check().to_json()):
        kept.write_text(damaged)
        with pytest.raises(ValueError, match=r"path: .*check\.json is damaged \(.*\); delete it, and the check is made again"):
            mtlue.protect(pale[:80], **call)
    kept.write_text(whole)
    with monkeypatch.context() as patch:
        patch.setattr(checking, "run_check", None)
        resumed = mtlue.protect(pale[:80], **call)
    assert resumed.check.residual_learnability == {"top": 0.1}


def test_it_costs_a_share_of_the_training(pale: Garments, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = []

    def note(data: Any, tasks: Any, protected: Any, plan: Any, compute: Any, *, transform: Any) -> mtlue.Check:
        plans.append(plan.steps)
        return mtlue.Check(dict.fromkeys(tasks, 0.0), protected_tasks=protected, images=(1, 1))

    monkeypatch.setattr(checking, "run_check", note)
    for width in (2, 32):
        run = {"generator": mtlue.UEGenerator(TASKS, (1, 16, 16), width=width), "loss": mtlue.EM(), "epochs": 1, **QUIET}
        mtlue.protect(pale, surrogate=nn.Sequential(nn.Flatten(), nn.Linear(256, 2)), **run)
    mtlue.protect(pale, generator=Stripes(), **QUIET)
    assert plans[0] == 80
    assert 80 <= plans[1] <= plans[2]
    assert plans[2] == 90


@pytest.mark.parametrize(("passes", "steps"), [(0.0, 80), (1.4, 84), (50.0, 90)])
def test_the_networks_of_a_loss_count_in_what_a_check_may_cost(
    pale: Garments, monkeypatch: pytest.MonkeyPatch, passes: float, steps: int
) -> None:
    plans: list[Any] = []

    def noted(data: Any, tasks: Any, protected: Any, plan: Any, *_: Any, **__: Any) -> mtlue.Check:
        plans.append(plan)
        return mtlue.Check()

    monkeypatch.setattr(checking, "run_check", noted)
    # A generator that costs nothing.
    monkeypatch.setattr(checking, "_cost", lambda generation, shape: 0.0)
    compute = Compute(torch.device("cpu"))
    samples = Samples(pale, TASKS)
    everything = torch.ones(len(pale), dtype=torch.bool)
    making = Making(samples, inspect_dataset(pale, TASKS), everything, list(TASKS), compute, passes)
    history: Any = range(240)
    making.check(Stripes(), history, None)
    # A tenth of 240 epochs of 400 images, for five networks with 32 images a step, within 80 and twelve passes.
    assert plans[0].steps == steps
