"""What goes wrong while a data set is read names the sample, in every verb and whenever it happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

import mtlue
from mtlue import baselines, evaluation
from people import random_images
from properties import assert_protected

TASKS = {"a": 2, "b": 2}
IMAGES = random_images(16)
SAMPLES: list[Any] = [(image, {"a": index % 2, "b": index // 2 % 2}) for index, image in enumerate(IMAGES)]
EM: dict[str, Any] = {"loss": mtlue.EM(), "epochs": 1, "progress": False}


class Changing(list[Any]):
    """Samples that a function gets to see whenever one is read, with the number of reads so far."""

    def __init__(self, change: Callable[[int, int, Any], Any]) -> None:
        super().__init__(SAMPLES)
        self.change, self.reads = change, 0

    def __getitem__(self, index: Any) -> Any:
        self.reads += 1
        return self.change(self.reads, index, super().__getitem__(index))


def net() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Flatten(), nn.Linear(768, 2))


def fit(dataset: Any, **settings: Any) -> Any:
    generator = mtlue.UEGenerator(TASKS, (3, 16, 16), width=4)
    return mtlue.fit(generator, dataset, net(), **{**EM, **settings})


def protect(dataset: Any, **settings: Any) -> Any:
    return mtlue.protect(dataset, tasks=TASKS, surrogate=net(), **{**EM, **settings})


def pgd(dataset: Any, **settings: Any) -> Any:
    return baselines.pgd(dataset, tasks=TASKS, surrogate=net(), loss=mtlue.EM(), steps=2, progress=False, **settings)


def shortcut(dataset: Any) -> Any:
    return baselines.shortcut(dataset, tasks=TASKS, patterns=baselines.LSP(), fusion=baselines.average_fusion)


def train_victim(dataset: Any, **settings: Any) -> Any:
    return evaluation.train_victim(dataset, tasks=TASKS, model=net(), epochs=2, progress=False, **settings)


def evaluate(dataset: Any, **settings: Any) -> Any:
    return evaluation.evaluate(net(), dataset, tasks=TASKS, **settings)


VERBS = [fit, protect, pgd, shortcut, train_victim, evaluate]


@pytest.mark.parametrize("error", [KeyError("lost"), StopIteration(), OSError("disk"), UnicodeDecodeError("a", b"", 0, 1, "")])
@pytest.mark.parametrize("verb", VERBS)
def test_an_error_after_the_inspection_names_the_sample(verb: Any, error: Exception) -> None:
    first = 0 if verb is evaluate else 32

    def fail(reads: int, index: int, sample: Any) -> Any:
        if reads > first and index == 9:
            raise error
        return sample

    with pytest.raises(ValueError, match=rf"dataset: sample 9 cannot be read: {type(error).__name__}: ") as caught:
        verb(Changing(fail))
    assert caught.value.__cause__ is error


def test_an_error_of_the_second_read_names_the_sample() -> None:
    def fail(reads: int, index: int, sample: Any) -> Any:
        if reads == 20:
            raise KeyError("lost")
        return sample

    with pytest.raises(ValueError, match=r"dataset: cannot be read a second time: KeyError: 'lost' \(sample 9\)"):
        protect(Changing(fail))


def test_a_worker_names_the_sample_too() -> None:
    def stop(_: int, index: int, sample: Any) -> Any:
        if index == 9:
            raise StopIteration
        return sample

    with pytest.raises(ValueError, match="dataset: sample 9 cannot be read: StopIteration"):
        evaluate(Changing(stop), num_workers=1)
    with pytest.raises(ValueError, match="dataset: sample 9 cannot be read: StopIteration"):
        mtlue.protect(Changing(stop), surrogate=net(), **EM)


def with_sample(image: Any, target: Any) -> list[Any]:
    return [*SAMPLES[:9], (image, target), *SAMPLES[10:]]


@pytest.mark.parametrize("batch_size", [None, 3])
@pytest.mark.parametrize(
    ("dataset", "error", "words"),
    [
        (with_sample(IMAGES[0], {"a": 7, "b": 0}), ValueError, "sample 9: task 'a': label 7 is out of range"),
        (with_sample(IMAGES[0], {"a": None, "b": 0}), TypeError, "sample 9: task 'a': expected an integer label, got None"),
        (with_sample(IMAGES[0], {"a": 1}), ValueError, "sample 9: targets: missing 'b'"),
        (with_sample(IMAGES[0].float(), SAMPLES[9][1]), ValueError, "sample 9: image values reach 255"),
        (with_sample("a.png", SAMPLES[9][1]), TypeError, "sample 9: image: expected a float tensor"),
        (
            with_sample(IMAGES[0][:1], SAMPLES[9][1]),
            ValueError,
            r"sample .* \(1, 16, 16\).*; convert them all to one mode",
        ),
        (
            with_sample(IMAGES[0][:, :8], SAMPLES[9][1]),
            ValueError,
            r"sample .* shape .*, but sample .* has .*; resize them, or give image_size",
        ),
    ],
)
def test_evaluate_names_the_sample(dataset: Any, error: type[Exception], words: str, batch_size: Any) -> None:
    with pytest.raises(error, match=f"dataset: {words}"):
        evaluate(dataset, batch_size=batch_size)


def test_images_that_a_model_does_not_take_are_told_with_their_shape() -> None:
    with pytest.raises(ValueError, match=r"model: failed on images of shape \(16, 3, 16, 16\): RuntimeError"):
        evaluation.evaluate(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), SAMPLES, tasks=TASKS)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_images_and_labels_that_carry_a_gradient(num_workers: int) -> None:
    weight = torch.ones((), requires_grad=True)
    tasks = {"depth": mtlue.Depth(), "a": 2}
    dataset: Any = [
        (image.float() / 255 * weight, {"depth": image[:1].float() * weight, "a": weight * (index % 2)})
        for index, image in enumerate(IMAGES)
    ]
    quick: dict[str, Any] = {"num_workers": num_workers, "precision": torch.float32, **EM}

    class Net(nn.Conv2d):
        def forward(self, input: torch.Tensor) -> Any:
            answer = super().forward(input)
            return {"depth": answer[:, :1], "a": answer[:, 1:].mean((2, 3))}

    safe = mtlue.protect(dataset, surrogate=Net(3, 3, 3, padding=1), **quick)
    assert (
        safe.tasks
        == {"depth": mtlue.Depth(), "a": mtlue.Classification(2)}
        == mtlue.protect(dataset, tasks=tasks, generator=safe.generator, num_workers=num_workers, progress=False).tasks
    )
    assert weight.grad is None


def test_labels_of_mixed_forms_give_what_plain_ones_do() -> None:
    forms: list[Any] = [
        lambda a, b: {"a": [a], "b": b},
        lambda a, b: (torch.tensor(a), [b]),
        lambda a, b: torch.tensor([a, b]),
        lambda a, b: {"b": float(b), "a": torch.tensor([a])},
    ]
    mixed = [(image, forms[index % 4](target["a"], target["b"])) for index, (image, target) in enumerate(SAMPLES)]
    for verb in (protect, pgd, shortcut):
        plain, safe = verb(SAMPLES), verb(mixed)
        assert all(torch.equal(a, b) for (a, _), (b, _) in zip(plain, safe, strict=True))
    one = [(image, index % 2 if index % 3 else torch.tensor([index % 2])) for index, image in enumerate(IMAGES)]
    assert_protected(mtlue.protect(one, surrogate=net()[:1].append(nn.Linear(768, 2)), **EM), one, all_changed=False)  # type: ignore[index]
    assert set(evaluate(mixed)) == {"a", "b"}


@pytest.mark.filterwarnings("ignore:surrogate. it answers 100 % of the clean images right")
@pytest.mark.parametrize("verb", [fit, protect, pgd])
def test_a_batch_of_em_is_no_larger_than_the_set(verb: Any) -> None:
    dataset = Changing(lambda reads, index, sample: sample)
    verb(dataset, batch_size=100_000)
    # Inspection, checks, one epoch or round, ten steps of the surrogate, its accuracy, the images.
    assert dataset.reads < 16 * 20


@pytest.mark.parametrize("verb", [fit, protect, pgd, train_victim])
def test_a_seed_has_64_bits(verb: Any) -> None:
    verb(SAMPLES, seed=2**64 - 1)
    with pytest.raises(ValueError, match=r"seed: expected less than 2\*\*64, got 18446744073709551616"):
        verb(SAMPLES, seed=2**64)


# So few and small samples are warned of in several ways.
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("shape", [(3, 1, 1), (1, 1, 2), (3, 2, 1), (3, 2, 2)])
@pytest.mark.parametrize("count", [1, 3, 5])
def test_the_last_batch_of_images_of_a_few_pixels(shape: tuple[int, int, int], count: int) -> None:
    images = torch.randint(256, (count, *shape), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    dataset = [(image, {"a": index % 2, "b": 0}) for index, image in enumerate(images)]
    small = nn.Sequential(nn.Flatten(), nn.Linear(images[0].numel(), 2))
    safe = mtlue.protect(dataset, tasks=TASKS, surrogate=small, batch_size=2, **EM)
    assert_protected(safe, dataset, all_changed=False)
