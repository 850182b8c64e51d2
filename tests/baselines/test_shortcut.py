"""Class-wise patterns, fused over tasks and added to a data set."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import mtlue
from mtlue.baselines import _assemble
from mtlue.baselines._ar import AR
from mtlue.baselines._fusion import average_fusion, patch_fusion
from mtlue.baselines._lsp import LSP
from mtlue.baselines._shortcut import shortcut

Shape = tuple[int, int, int]
TASKS = {"age": 3, "smile": 2}


def grey(count: int = 12, shape: Shape = (3, 16, 16), level: int = 128) -> list[tuple[Tensor, dict[str, int]]]:
    image = torch.full(shape, level, dtype=torch.uint8)
    return [(image, {"age": index % 3, "smile": index % 2}) for index in range(count)]


def levels(safe: Any, dataset: Sequence[Any]) -> Tensor:
    """What was added, in levels, (N, C, H, W)."""
    return torch.stack([(image * 255).round() - clean for (image, _), (clean, _) in zip(safe, dataset, strict=True)])


@pytest.mark.parametrize("fusion", [patch_fusion, average_fusion])
@pytest.mark.parametrize("patterns", [LSP(), AR()])
@pytest.mark.parametrize(("shape", "budget"), [((3, 32, 32), 1.0), ((1, 16, 24), 2.0), ((3, 33, 47), 1.0)])
def test_the_budget(patterns: Any, fusion: Any, shape: Shape, budget: float) -> None:
    dataset = grey(6, shape)
    safe = shortcut(dataset, tasks=TASKS, patterns=patterns, fusion=fusion, budget=budget)
    added = levels(safe, dataset)
    assert added.abs().max() <= round(255 * safe.epsilon)
    norms = added.flatten(1).norm(dim=1) / 255
    whole = budget * shape[1] / 32 * shape[2] / 32
    # A value is rounded by 0.29 levels in the mean, by half a level at most.
    slack = 0.5 * math.prod(shape) ** 0.5 / 255
    assert (norms <= whole + slack).all()
    if fusion is patch_fusion:
        assert (norms >= 0.93 * whole - slack).all()
    else:
        # Two patterns with an angle between them: the mean is not scaled up again.
        parts = average_fusion([lambda shape, n=n: patterns(n, shape, torch.Generator().manual_seed(0)) for n in (3, 2)], shape)
        assert (parts[0][0] + parts[1][1]).norm() < 1
        assert norms.min() < 0.95 * whole


def test_equal_classes_get_equal_perturbations_and_others_do_not() -> None:
    dataset = grey(18)
    for fusion in (patch_fusion, average_fusion):
        added = levels(shortcut(dataset, tasks=TASKS, patterns=LSP(), fusion=fusion), dataset)
        for index in range(18):
            assert torch.equal(added[index], added[index % 6])
        assert added.unique(dim=0).shape[0] == 6
        assert torch.equal(added, added.round())


def test_tasks_have_patterns_of_their_own() -> None:
    dataset = [(torch.full((3, 32, 32), 128, dtype=torch.uint8), {"a": 0, "b": 0})]
    added = levels(shortcut(dataset, tasks={"a": 2, "b": 2}, patterns=LSP(), fusion=patch_fusion), dataset)[0]
    assert added[:, :16, :16].abs().max() > 0
    assert not torch.equal(added[:, :16, :16], added[:, :16, 16:])
    assert not added[:, 16:].any()


def test_a_missing_label_adds_nothing() -> None:
    image = torch.full((3, 32, 32), 128, dtype=torch.uint8)
    tasks = {"age": mtlue.Classification(3, ignore_index=99), "smile": 2}
    dataset = [(image, (0, 0)), (image, (99, 0)), (image, (0, -1)), (image, (99, -1))]
    both, smile, age, none = levels(shortcut(dataset, tasks=tasks, patterns=LSP(), fusion=patch_fusion), dataset)
    assert torch.equal(age[:, :16, :16], both[:, :16, :16])
    assert torch.equal(smile[:, :16, 16:], both[:, :16, 16:])
    assert not smile[:, :16, :16].any()
    assert not age[:, :16, 16:].any()
    assert not none.any()
    assert both[:, :16].any(dim=0).all()


def test_levels_are_rounded_to_the_nearest_and_clamped() -> None:
    def draw(num_classes: int, shape: Shape, generator: torch.Generator) -> Tensor:
        # Of norm 1 after scaling: 0.6 and 0.8.
        return torch.tensor([3.0, -4.0]).view(1, 1, 1, 2)

    # The budget of 1 x 2 pixels is so large that the values are 2.4 and -3.2 levels, then 2.55 and -3.4.
    for norm, wanted in ((4, [[102, 97], [255, 0]]), (4.25, [[103, 97], [255, 0]])):
        dataset = [(torch.tensor([[pixels]], dtype=torch.uint8), 0) for pixels in ([100, 100], [254, 2])]
        safe = shortcut(dataset, tasks={"only": 1}, patterns=draw, fusion=average_fusion, budget=norm / 255 * 512)
        assert [(image * 255).round().int().flatten().tolist() for image, _ in safe] == wanted
        assert safe.epsilon == 3 / 255


def test_float_images_are_brought_to_bytes_first() -> None:
    dataset = grey()
    floats = [(image.float() / 255 + 0.3 / 255, target) for image, target in dataset]
    safe, other = (shortcut(each, tasks=TASKS, patterns=LSP(), fusion=patch_fusion) for each in (dataset, floats))
    assert all(torch.equal(left, right) for (left, _), (right, _) in zip(safe, other, strict=True))


def test_the_seed_alone_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = grey(10)
    state = torch.get_rng_state()

    def run(seed: int) -> Tensor:
        return levels(shortcut(dataset, tasks=TASKS, patterns=AR(), fusion=patch_fusion, seed=seed), dataset)

    first = run(0)
    assert not torch.equal(run(1), first)
    for batch in (1, 3, 10):
        monkeypatch.setattr(_assemble, "_BATCH", batch)
        assert torch.equal(run(0), first)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_linear_model_reads_every_task_from_the_patterns_alone() -> None:
    random = torch.Generator().manual_seed(0)
    image = torch.full((3, 32, 32), 128, dtype=torch.uint8)
    labels = torch.stack([torch.randint(high, (60,), generator=random) for high in (4, 2, 3)], dim=1)
    dataset = [(image, row) for row in labels]
    tasks = {"a": 4, "b": 2, "c": 3}
    added = levels(shortcut(dataset, tasks=tasks, patterns=LSP(), fusion=patch_fusion), dataset).flatten(1)
    for column, classes in enumerate(tasks.values()):
        weights = torch.linalg.lstsq(added[:30], F.one_hot(labels[:30, column], classes).float(), driver="gelsd").solution
        assert torch.equal((added[30:] @ weights).argmax(dim=1), labels[30:, column])


def test_a_store_equals_what_is_kept_in_memory(tmp_path: Path) -> None:
    dataset = grey(150, (3, 8, 9))
    make: Callable[..., Any] = lambda path: shortcut(dataset, tasks=TASKS, patterns=AR(), fusion=average_fusion, path=path)  # noqa: E731
    kept, stored = make(None), make(tmp_path / "store")
    loaded = mtlue.ProtectedDataset.load(tmp_path / "store", dataset)
    assert loaded.epsilon == stored.epsilon == kept.epsilon
    assert loaded.tasks == kept.tasks
    for index in range(150):
        assert torch.equal(stored[index][0], kept[index][0])
        assert torch.equal(loaded[index][0], kept[index][0])
        assert loaded[index][1] is dataset[index][1]
    assert sorted(file.name for file in (tmp_path / "store").iterdir()) == ["images-000000.bin", "manifest.json"]
    with pytest.raises(FileExistsError, match=r"path: .*store exists"):
        shortcut(dataset, tasks=TASKS, patterns=LSP(), fusion=average_fusion, path=tmp_path / "store")


class Stopping:
    """A data set whose reading is interrupted at a sample, once everything has been inspected."""

    def __init__(self, dataset: Sequence[Any]) -> None:
        self.dataset, self.stop_at, self.reads = dataset, -1, 0

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if index == self.stop_at:
            self.reads += 1
            # The first reading is the inspection's.
            if self.reads == 2:
                raise KeyboardInterrupt
        return self.dataset[index]


def test_an_interrupted_call_goes_on(tmp_path: Path) -> None:
    dataset = Stopping(grey(200, (3, 8, 8)))
    path = tmp_path / "store"

    def make(**changes: Any) -> Any:
        settings = {"tasks": TASKS, "patterns": LSP(), "fusion": average_fusion, "path": path, **changes}
        return shortcut(dataset, **settings)  # type: ignore[arg-type]

    # Not among the samples that are read for the checksum of the labels, which are even.
    dataset.stop_at = 143
    with pytest.raises(KeyboardInterrupt):
        make()
    assert (tmp_path / "store.partial" / "shards" / "images-000000.bin").stat().st_size == 128 * 192
    for name, changes in {"seed": {"seed": 1}, "budget": {"budget": 2.0}, "patterns": {"fusion": patch_fusion}}.items():
        with pytest.raises(ValueError, match=rf"store.partial was left by a call with another .*{name}"):
            make(**changes)
    safe = make()
    whole = make(path=None)
    assert all(torch.equal(left, right) for (left, _), (right, _) in zip(safe, whole, strict=True))
    assert [file.name for file in tmp_path.iterdir()] == ["store"]


def test_a_budget_of_which_nothing_is_left() -> None:
    dataset = grey(2)
    with pytest.warns(
        UserWarning, match="budget: 0.001 changes no pixel by half a level of 1/255: stored images will not change"
    ):
        safe = shortcut(dataset, tasks=TASKS, patterns=LSP(), fusion=average_fusion, budget=0.001)
    assert safe.epsilon == 0
    assert not levels(safe, dataset).any()


MIXED = grey(3, (3, 8, 9)) + grey(3, (3, 8, 8))


@pytest.mark.parametrize(
    ("error", "message", "changes"),
    [
        (TypeError, "dataset: expected a map-style data set", {"dataset": 5}),
        (ValueError, r"dataset: .* of one size.*got 2 sizes \(8 x 8, 8 x 9\); resize", {"dataset": MIXED}),
        (ValueError, "label 2 is out of range", {"tasks": {"age": 2, "smile": 2}}),
        (ValueError, r"tasks: .* expected classification tasks, got 'depth': Depth\(\)", {"tasks": {"depth": mtlue.Depth()}}),
        (ValueError, "got 'parts': Segmentation", {"tasks": {"parts": mtlue.Segmentation(3)}}),
        (TypeError, r"patterns: expected LSP\(\) or AR\(\) of mtlue.baselines, or a function.* got <class", {"patterns": LSP}),
        (TypeError, r"fusion: expected patch_fusion or average_fusion .*got 'patches'", {"fusion": "patches"}),
        (ValueError, "budget: expected a number > 0, got 0", {"budget": 0}),
        (TypeError, "budget: expected a number, got None", {"budget": None}),
        (ValueError, "seed: expected at least 0, got -1", {"seed": -1}),
    ],
)
def test_wrong_input(error: Any, message: str, changes: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"dataset": grey(), "tasks": TASKS, "patterns": LSP(), "fusion": average_fusion, **changes}
    dataset = arguments.pop("dataset")
    with pytest.raises(error, match=message):
        shortcut(dataset, **arguments)


@pytest.mark.parametrize(
    ("message", "name", "returned"),
    [
        (r"expected it to return floats of shape \(3, 3, 16, 16\), got .* \(3, 16, 16\)", "patterns", torch.ones(3, 16, 16)),
        (r"expected it to return floats of shape .*, got NoneType", "patterns", None),
        ("expected it to return finite values, got NaN", "patterns", torch.full((3, 3, 16, 16), torch.nan)),
        ("expected patterns that change something", "patterns", torch.zeros(3, 3, 16, 16)),
        ("expected it to return a list of 2 tensors, one for each task, got 1", "fusion", [torch.ones(3)]),
        ("expected it to return a list of 2 tensors, one for each task, got Tensor", "fusion", torch.ones(2)),
        (r"expected .* floats of shape \(3, 3, 16, 16\), got torch.int64", "fusion", [torch.ones(3, 3, 16, 16).long()] * 2),
    ],
)
def test_wrong_returns(message: str, name: str, returned: Any) -> None:
    arguments: dict[str, Any] = {"patterns": LSP(), "fusion": average_fusion, name: lambda *arguments: returned}
    with pytest.raises(ValueError, match=f"{name}: {message}"):
        shortcut(grey(), tasks=TASKS, **arguments)
