"""Sets that an audit cannot tell anything from."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import Dataset, Subset, TensorDataset

from mtlue.baselines import random_noise
from mtlue.evaluation import Report, audit
from small_victims import TASKS, net, two_task_set

CLEAN, TEST = two_task_set(16), Subset(two_task_set(48), range(16, 32))
NOISY = random_noise(CLEAN, tasks=TASKS)


def copied(dataset: TensorDataset) -> list[Any]:
    return [(image.clone(), labels.clone()) for image, labels in dataset]


def measured(protected: Any = NOISY, clean: Any = CLEAN, test: Any = TEST) -> Report:
    settings: dict[str, Any] = {"tasks": TASKS, "single_task": [], "epochs": 1, "batch_size": 8, "progress": False}
    return audit(protected, clean, test, model=net(), **settings)


@pytest.mark.parametrize("test", [CLEAN, copied(CLEAN), NOISY], ids=["clean", "a copy of it", "protected"])
def test_a_set_that_victims_are_trained_on_is_no_test_set(test: Any) -> None:
    with pytest.raises(ValueError, match=r"^test: expected samples that no victim is trained on, got all of the clean or the"):
        measured(test=test)


@pytest.mark.parametrize("protected", [CLEAN, copied(CLEAN)], ids=["the same object", "a copy"])
def test_the_clean_set_is_no_protected_one(protected: Any) -> None:
    with pytest.raises(ValueError, match=r"^protected: expected protected samples, got the clean set"):
        measured(protected=protected)


def test_one_image_that_changed_makes_a_protected_set() -> None:
    protected = copied(CLEAN)
    protected[-1] = (protected[-1][0] + 8 / 255, protected[-1][1])
    assert measured(protected=protected).measurements


def test_one_label_that_changed_makes_another_set() -> None:
    protected = copied(CLEAN)
    protected[0] = (protected[0][0], 1 - protected[0][1].clamp_max(1))
    assert measured(protected=protected).measurements


@pytest.mark.parametrize(
    ("test", "words"),
    [
        pytest.param(Subset(TEST, [0]), "test: one sample cannot tell what a victim has learned", id="one sample"),
        pytest.param(
            [(image, torch.stack([labels[0], labels[1] * 0])) for image, labels in TEST],
            "test: every label of 'shade' is the same class, so a victim that always answers it looks perfect",
            id="one class",
        ),
    ],
)
def test_a_test_set_that_tells_nothing_is_named_in_a_warning(test: Dataset[Any], words: str) -> None:
    with pytest.warns(UserWarning, match=words) as caught:
        measured(test=test)
    assert len(caught) == 1


@pytest.mark.parametrize(
    ("seeds", "error", "words"),
    [
        (0, TypeError, r"seeds: expected a list of integers such as \[0, 1, 2\], got 0"),
        ("01", TypeError, "seeds: expected a list of integers"),
        ({0}, TypeError, "seeds: expected a list of integers"),
        ([], ValueError, "seeds: expected at least one"),
        ([0.5], TypeError, "seeds: expected an int"),
        ([1, 1], ValueError, "seeds: expected each once"),
    ],
)
def test_seeds_are_a_list(seeds: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        audit(NOISY, CLEAN, TEST, seeds=seeds)


@pytest.mark.parametrize(("checkpoint", "error"), [(3, TypeError), ("", ValueError)])
def test_a_folder_is_a_path(checkpoint: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^checkpoint: expected a path.*, got"):
        audit(NOISY, CLEAN, TEST, checkpoint=checkpoint)
