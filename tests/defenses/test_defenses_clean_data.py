"""The clean data sets that early stopping and last-layer retraining hold."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

import mtlue
from mtlue.defenses import EarlyStopping, LastLayerRetraining

# Half of eight levels of grey is bright; the second task is the opposite, answered rightly always or never with the first.
LEVELS = [(torch.full((1, 2, 2), index / 7), (int(index > 3), int(index <= 3))) for index in range(8)]
BRIGHT = {"bright": 2, "dark": 2}


def test_tasks_of_the_clean_set_may_be_more_than_the_models() -> None:
    """Labels in a tuple can only be told apart by the tasks of the set itself."""
    module = nn.Sequential(nn.Flatten(), nn.Linear(4, 1))
    victim = mtlue.Surrogate(module, {"dark": 2})
    LastLayerRetraining(LEVELS, tasks=BRIGHT, steps=60, learning_rate=0.1).finish(victim)
    stopping = EarlyStopping(LEVELS, tasks=BRIGHT)
    stopping.after_epoch(victim, 0)
    assert stopping.skills == [1.0]

    class Described(list[object]):
        tasks = BRIGHT

    stopping = EarlyStopping(Described(LEVELS))  # type: ignore[arg-type]  # all that is asked of a data set
    stopping.after_epoch(victim, 0)
    assert stopping.skills == [1.0]
    with pytest.raises(ValueError, match="expected 1 values in the order 'dark', got 2"):
        EarlyStopping(LEVELS).after_epoch(victim, 0)
    with pytest.raises(ValueError, match="validation: no labels for the tasks \\['age'\\]; found \\['bright', 'dark'\\]"):
        EarlyStopping(LEVELS, tasks=BRIGHT).after_epoch(mtlue.Surrogate(module, {"age": 2}), 0)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: EarlyStopping([]), ValueError, "validation: expected at least one sample, got an empty data set"),
        (lambda: LastLayerRetraining([]), ValueError, "clean: expected at least one sample, got an empty data set"),
        (lambda: EarlyStopping(iter(LEVELS)), TypeError, "validation: expected a map-style data set"),  # type: ignore[arg-type]  # wrong
        (lambda: EarlyStopping(LEVELS, batch_size=0), ValueError, "batch_size: expected at least 1, got 0"),
        (
            lambda: EarlyStopping(LEVELS, image_size=(8, 0)),
            ValueError,
            r"image_size: expected at least 1 pixel, got \(8, 0\)",
        ),
        (lambda: LastLayerRetraining(LEVELS, steps=0), ValueError, "steps: expected at least 1, got 0"),
        (lambda: LastLayerRetraining(LEVELS, learning_rate=0), ValueError, "learning_rate: expected a number > 0, got 0"),
        (lambda: LastLayerRetraining(LEVELS, heads="fc"), TypeError, "heads: expected a function .* got 'fc'"),  # type: ignore[arg-type]  # wrong
        (lambda: LastLayerRetraining(LEVELS, tasks={}), ValueError, "tasks: expected at least one task"),
    ],
)
def test_wrong_arguments(make: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def test_images_of_several_sizes_are_resized_where_a_size_is_given() -> None:
    sizes = [
        (torch.full((1, side, side + 1), index / 7), pair)
        for index, (side, (_, pair)) in enumerate(zip(range(2, 10), LEVELS, strict=True))
    ]
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    victim = mtlue.Surrogate(module, BRIGHT)
    LastLayerRetraining(sizes, image_size=(4, 3), steps=80, learning_rate=0.1).finish(victim)
    stopping = EarlyStopping(sizes, image_size=(4, 3), batch_size=3)
    stopping.after_epoch(victim, 0)
    assert stopping.skills == [1.0]


def test_wrong_clean_images() -> None:
    victim = mtlue.Surrogate(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 1)), {"young": 2})
    sizes = [(torch.rand(1, 2, 2), 0), (torch.rand(1, 3, 3), 1)]
    with pytest.raises(ValueError, match="validation: sample 1: image of shape \\(1, 3, 3\\), but others have \\(1, 2, 2\\)"):
        EarlyStopping(sizes).after_epoch(victim, 0)
    with pytest.raises(ValueError, match="clean: sample 0: image values reach 255, expected floats in \\[0, 1\\]"):
        LastLayerRetraining([(torch.full((1, 2, 2), 255.0), 0)]).finish(victim)


def test_the_reprs_say_how_much_is_held() -> None:
    assert repr(EarlyStopping(LEVELS)) == "EarlyStopping(8 clean images)"
    assert repr(LastLayerRetraining(LEVELS, steps=3)) == "LastLayerRetraining(8 clean images, steps=3, learning_rate=0.001)"
