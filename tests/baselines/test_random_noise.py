"""The control: random signs with the same budget."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

import mtlue
from mtlue._formats import StoreWriter
from mtlue.baselines import _assemble
from mtlue.baselines._random_noise import random_noise


def dataset_of(count: int, level: int = 128) -> list[tuple[Tensor, dict[str, int]]]:
    image = torch.full((3, 20, 20), level, dtype=torch.uint8)
    return [(image, {"age": index % 3, "smile": index % 2}) for index in range(count)]


def levels(noisy: Any, dataset: Any) -> Tensor:
    return torch.stack([(image * 255).round() - clean for (image, _), (clean, _) in zip(noisy, dataset, strict=True)])


@pytest.mark.parametrize(("epsilon", "wanted"), [(8 / 255, 8), (0.0314, 8), (8.9 / 255, 8), (1 / 255, 1)])
def test_each_pixel_moves_by_the_whole_budget(epsilon: float, wanted: int) -> None:
    dataset = dataset_of(8)
    noisy = random_noise(dataset, epsilon=epsilon)
    added = levels(noisy, dataset)
    assert (added.abs() == wanted).all()
    # 9600 signs: six standard deviations of their mean.
    assert abs((added > 0).float().mean() - 0.5) < 0.03
    assert noisy.epsilon == epsilon
    assert noisy.tasks == {"age": mtlue.Classification(3), "smile": mtlue.Classification(2)}
    assert noisy[3][1] is dataset[3][1]


def test_images_stay_within_their_range() -> None:
    for level, wanted in ((3, {0.0, 11.0}), (250, {242.0, 255.0})):
        assert set((random_noise(dataset_of(2, level))[0][0] * 255).round().flatten().tolist()) == wanted


def test_samples_have_independent_noise() -> None:
    dataset = dataset_of(66)
    signs = levels(random_noise(dataset), dataset).flatten(1) / 8
    agreement = signs @ signs.T / signs.shape[1]
    assert torch.equal(agreement.diagonal(), torch.ones(66))
    # 1200 signs: the mean product of two samples has a standard deviation of 0.029, and there are 2145 pairs.
    assert (agreement - torch.eye(66)).abs().max() < 0.17


def test_noise_depends_on_seed_and_index_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    state = torch.get_rng_state()
    dataset = dataset_of(10)
    first = levels(random_noise(dataset), dataset)
    monkeypatch.setattr(_assemble, "_BATCH", 3)
    assert torch.equal(levels(random_noise(dataset), dataset), first)
    # Other labels, other tasks, fewer samples.
    others = [(image, 0) for image, _ in dataset[:7]]
    assert torch.equal(levels(random_noise(others, tasks={"any": 2}), others), first[:7])
    assert not torch.equal(levels(random_noise(dataset, seed=1), dataset), first)
    assert torch.equal(torch.get_rng_state(), state)


def test_images_of_several_sizes_and_label_maps(tmp_path: Path) -> None:
    shapes = [(1, 8, 9), (1, 5, 5), (1, 8, 9)]
    dataset = [(torch.full(shape, 0.5), {"depth": torch.ones(1, *shape[1:])}) for shape in shapes]
    noisy = random_noise(dataset, tasks={"depth": mtlue.Depth()}, path=tmp_path / "store")
    loaded = mtlue.ProtectedDataset.load(tmp_path / "store", dataset)
    for (image, _), (again, _), shape in zip(noisy, loaded, shapes, strict=True):
        assert image.shape == shape
        assert set((image * 255).round().flatten().tolist()) == {120.0, 136.0}
        assert torch.equal(image, again)
    with pytest.raises(ValueError, match="image 0 is not the same"):
        mtlue.ProtectedDataset.load(tmp_path / "store", [(image - 0.1, target) for image, target in dataset])


def test_the_data_sets_own_tasks_are_taken() -> None:
    class Own(list[Any]):
        tasks: ClassVar = {"age": 5, "smile": 2}

    assert random_noise(Own(dataset_of(4))).tasks == {"age": mtlue.Classification(5), "smile": mtlue.Classification(2)}


def test_a_store_of_other_settings_is_not_taken_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = dataset_of(6)

    def stop(*arguments: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as context:
        context.setattr(StoreWriter, "finish", stop)
        with pytest.raises(KeyboardInterrupt):
            random_noise(dataset, path=tmp_path / "store")
    for name, value in (("seed", 2), ("epsilon", 4 / 255)):
        with pytest.raises(ValueError, match=f"was left by a call with another {name}"):
            random_noise(dataset, path=tmp_path / "store", **{name: value})  # type: ignore[arg-type]
    noisy = random_noise(dataset, path=tmp_path / "store")
    assert torch.equal(levels(noisy, dataset), levels(random_noise(dataset), dataset))


def test_less_than_a_level_is_said_to_be_nothing() -> None:
    dataset = dataset_of(2)
    with pytest.warns(UserWarning, match="epsilon: 0.003 is less than one level of 1/255: no pixel changes"):
        noisy = random_noise(dataset, epsilon=0.003)
    assert not levels(noisy, dataset).any()


@pytest.mark.parametrize(
    ("error", "message", "arguments"),
    [
        (ValueError, r"epsilon: expected 0 < epsilon <= 1, got 8; on the scale of \[0, 1\] that is 8/255", {"epsilon": 8}),
        (TypeError, "seed: expected an int, got 0.5", {"seed": 0.5}),
        (TypeError, "tasks: expected a dict", {"tasks": 3}),
        (ValueError, "label 2 is out of range", {"tasks": {"age": 2, "smile": 2}}),
    ],
)
def test_wrong_input(error: Any, message: str, arguments: dict[str, Any]) -> None:
    with pytest.raises(error, match=message):
        random_noise(dataset_of(6), **arguments)
    with pytest.raises(ValueError, match="dataset: expected at least one sample"):
        random_noise([])
