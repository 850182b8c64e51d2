"""The relative standard deviation of features within classes (section 4.2)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from mtlue.analysis import intra_class_deviation


def literal_deviation(features: Tensor, targets: dict[str, Tensor]) -> tuple[float, float]:
    """The paper's formula, one number at a time."""
    by_feature = []
    for values in features.double().T.tolist():
        ratios = []
        for labels in targets.values():
            for label in range(int(labels.max()) + 1):
                members = [value for value, other in zip(values, labels.tolist(), strict=True) if other == label]
                if len(members) < 2:
                    continue
                mean = sum(members) / len(members)
                deviation = math.sqrt(sum((member - mean) ** 2 for member in members) / (len(members) - 1))
                ratios.append(deviation / abs(mean) if deviation else 0.0)
        by_feature.append(sum(ratios) / len(ratios))
    return sum(by_feature) / len(by_feature), max(by_feature)


@pytest.fixture
def sample() -> tuple[Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    features = torch.rand(60, 7, generator=generator)
    targets = {
        name: torch.randint(-1, classes, (60,), generator=generator)
        for name, classes in {"age": 9, "race": 5, "gender": 2}.items()
    }
    return features, targets


def test_a_value_worked_out_by_hand() -> None:
    """Feature 0: age (1, 3) gives √2/2, (4, 4) gives 0, gender (1, 3, 4) gives √(7/3)/(8/3), (4,) is alone: left out."""
    features = torch.tensor([[1.0, 2.0], [3.0, 2.0], [4.0, 2.0], [4.0, 2.0]])
    targets = {"age": torch.tensor([0, 0, 2, 2]), "gender": torch.tensor([1, 1, 1, 0])}
    first = (math.sqrt(2) / 2 + 0 + math.sqrt(7 / 3) / (8 / 3)) / 3
    assert intra_class_deviation(features, targets) == pytest.approx((first / 2, first), rel=1e-6)


def test_classes_of_all_tasks_weigh_the_same() -> None:
    """One mean over the classes, not a mean of the tasks' means."""
    features = torch.tensor([[1.0], [3.0], [2.0], [2.0], [2.0], [2.0]])
    targets = {"three": torch.tensor([0, 0, 1, 1, 2, 2]), "one": torch.tensor([0, 0, -1, -1, -1, -1])}
    mean, maximum = intra_class_deviation(features, targets)
    assert mean == pytest.approx(2 * (math.sqrt(2) / 2) / 4)
    assert type(mean) is type(maximum) is float


def test_it_is_the_formula_of_the_paper(sample: tuple[Tensor, dict[str, Tensor]]) -> None:
    features, targets = sample
    assert any(bool((labels == -1).any()) for labels in targets.values())
    assert intra_class_deviation(features, targets) == pytest.approx(literal_deviation(features, targets), rel=1e-9)


def test_of_negative_features_the_mean_counts_by_its_size(sample: tuple[Tensor, dict[str, Tensor]]) -> None:
    features, targets = sample
    assert intra_class_deviation(-features, targets) == pytest.approx(intra_class_deviation(features, targets))


def test_order_scale_and_names_do_not_matter(sample: tuple[Tensor, dict[str, Tensor]]) -> None:
    features, targets = sample
    order = torch.randperm(len(features), generator=torch.Generator().manual_seed(1))
    expected = pytest.approx(intra_class_deviation(features, targets), rel=1e-5)
    assert intra_class_deviation(features[order], {name: labels[order] for name, labels in targets.items()}) == expected
    scales = torch.tensor([0.1, 1.0, 7.0, 100.0, 3.0, 1e-3, 2.0])
    assert intra_class_deviation(features * scales, targets) == expected
    assert intra_class_deviation(
        features, {f"{name}?": 8 - labels.where(labels >= 0, 9) for name, labels in targets.items()}
    ) == (expected)


def test_what_has_no_label_is_as_if_it_were_not_there(sample: tuple[Tensor, dict[str, Tensor]]) -> None:
    features, targets = sample
    more = torch.cat([features, 1e6 * torch.ones(3, 7)])
    missing = torch.full((3,), -1)
    assert intra_class_deviation(
        more, {name: torch.cat([labels, missing]) for name, labels in targets.items()}
    ) == pytest.approx(intra_class_deviation(features, targets))


def test_features_far_from_zero_keep_their_digits() -> None:
    features = torch.tensor([[1e6], [1e6 + 1]])
    assert intra_class_deviation(features, {"a": torch.tensor([0, 0])})[0] == pytest.approx(math.sqrt(0.5) / (1e6 + 0.5))


def test_a_dead_feature_does_not_vary() -> None:
    features = torch.tensor([[0.0, 1.0], [0.0, 3.0]])
    assert intra_class_deviation(features, {"a": torch.tensor([0, 0])}) == pytest.approx((math.sqrt(2) / 4, math.sqrt(2) / 2))


@pytest.mark.parametrize(
    ("features", "targets", "kind", "message"),
    [
        (torch.ones(3, 2, dtype=torch.int64), {"a": torch.zeros(3).long()}, TypeError, "features: .* got torch.int64"),
        ([[1.0]], {"a": torch.zeros(1).long()}, TypeError, "features: expected a tensor of floats .* got list"),
        (torch.rand(3, 2, 2), {"a": torch.zeros(3).long()}, ValueError, r"features: expected shape \(N, D\), got \(3, 2, 2\)"),
        (torch.rand(0, 2), {"a": torch.zeros(0).long()}, ValueError, r"features: expected shape \(N, D\), got \(0, 2\)"),
        (torch.full((3, 2), math.nan), {"a": torch.zeros(3).long()}, ValueError, "features: .* got NaN or infinity"),
        (torch.rand(3, 2), torch.zeros(3).long(), TypeError, "targets: expected a dict .* got Tensor"),
        (torch.rand(3, 2), {"a": torch.zeros(3)}, TypeError, "targets: task 'a': expected integers, got torch.float32"),
        (torch.rand(3, 2), {"a": "no"}, TypeError, "targets: task 'a': expected integers, got str"),
        (torch.rand(3, 2), {"a": torch.zeros(2).long()}, ValueError, r"task 'a': expected 3 labels, shape \(N,\), got \(2,\)"),
        (torch.rand(3, 2), {"a": torch.tensor([0, 0, -2])}, ValueError, "task 'a': .* -1 for a missing one, got -2"),
        (
            torch.rand(3, 2),
            {"a": torch.tensor([0, 1, 2])},
            ValueError,
            "targets: expected a class with at least 2 samples, got none",
        ),
        (torch.rand(3, 2), {}, ValueError, "targets: expected a class with at least 2 samples, got none"),
    ],
)
def test_wrong_arguments(features: Any, targets: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        intra_class_deviation(features, targets)
