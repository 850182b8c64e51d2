"""Bad input is refused before any training, with a message that says what was expected and what came."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import IterableDataset

import mtlue

Refused = Callable[..., str]


@pytest.fixture(params=["fit", "protect"])
def refused(request: pytest.FixtureRequest, net: nn.Module, make_generator: Any) -> Refused:
    """Calls a verb with a data set and checks the error, and that nothing was trained before it."""

    def call(dataset: Any, error: type[Exception], *words: str, **arguments: Any) -> str:
        generator = arguments.pop("generator", None) or make_generator()
        surrogate = arguments.pop("surrogate", net)
        steps: list[Any] = []
        before = {name: value.clone() for name, value in generator.state_dict().items()}
        settings = {"loss": mtlue.TAP(), "epochs": 1, "batch_size": 8, "progress": steps.append, **arguments}
        verb = mtlue.fit if request.param == "fit" else mtlue.protect
        with pytest.raises(error) as caught:
            verb(dataset=dataset, generator=generator, surrogate=surrogate, **settings)
        assert steps == []
        assert all(torch.equal(before[name], value) for name, value in generator.state_dict().items())
        assert not isinstance(surrogate, nn.Module) or all(p.grad is None for p in surrogate.parameters())
        text = str(caught.value)
        for word in words:
            assert re.search(word, text), f"{word!r} is not in {text!r}"
        return text

    return call


def with_label(canvases: Any, label: Any, index: int = 5) -> Any:
    broken = list(canvases)
    broken[index] = (broken[index][0], {**broken[index][1], "front": label})
    return broken


def with_image(canvases: Any, image: Any, index: int = 5) -> Any:
    broken = list(canvases)
    broken[index] = (image, broken[index][1])
    return broken


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (7, ("label 7 is out of range", "from 0 to 1")),
        (-2, ("label -2 is out of range", "-1 for a missing label")),
        (0.5, ("label 0.5 is not an integer",)),
        (float("nan"), ("label nan is not an integer",)),
        ("boot", ("expected an integer label, got 'boot'",)),
        (None, ("expected an integer label, got None",)),
        (torch.tensor([0, 1]), (r"expected one integer an image, got labels of shape",)),
    ],
)
def test_label(refused: Refused, canvases: Any, label: Any, words: tuple[str, ...]) -> None:
    refused(with_label(canvases, label), ValueError, "dataset", "task 'front'", r"\(sample 5\)", *words)


def test_targets_of_the_wrong_form(refused: Refused, canvases: Any) -> None:
    named = [(image, {"shoe": 0}) for image, _ in canvases]
    refused(named, ValueError, "dataset", "targets: missing 'front'", "there are 'shoe'")
    refused([(image, (0, 1, 1)) for image, _ in canvases], ValueError, "expected 2 values", "'shoe', 'front'", "got 3")
    refused([(image, torch.tensor([1])) for image, _ in canvases], ValueError, "2 entries", r"got shape \(1,\)")
    refused([(image, 1) for image, _ in canvases], ValueError, "targets: expected a dict", "got int")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda image: (image.float() / 255 - 0.45) / 0.2, (r"expected \[0, 1\]", "normalised", "into the surrogate")),
        (lambda image: image.float(), ("values reach", r"expected floats in \[0, 1\]", "divide by 255")),
        (lambda image: image.float() / 255 * float("nan"), ("NaN",)),
        (lambda image: image.float() + float("inf"), ("infinity",)),
        (lambda image: image.long(), ("image: expected", "uint8", "got a tensor of torch.int64")),
        (lambda image: image.numpy(), ("image: expected", "got ndarray", "from_numpy")),
        (lambda image: "photo.png", ("image: expected", "got str")),
        (lambda image: image.unsqueeze(0), (r"expected an image of shape \(C, H, W\), got \(1, 1, 16, 16\)",)),
        (lambda image: image.permute(1, 2, 0), (r"got \(16, 16, 1\)", "looks like \\(H, W, C\\)")),
        (lambda image: image[:, :0], (r"got \(1, 0, 16\)",)),
    ],
)
def test_image(refused: Refused, canvases: Any, change: Any, words: tuple[str, ...]) -> None:
    refused(with_image(canvases, change(canvases[5][0])), ValueError, "dataset", r"\(sample 5\)", *words)


def test_mixed_channel_counts(refused: Refused, canvases: Any) -> None:
    broken = with_image(canvases, canvases[5][0].expand(3, -1, -1))
    refused(broken, ValueError, "different numbers of channels", r"3 \(first at sample 5\)", "convert")


def test_channels_that_the_generator_was_not_made_for(refused: Refused, canvases: Any, make_generator: Any) -> None:
    colour = make_generator(shape=(3, 16, 16))
    refused(canvases, ValueError, "generator", "3 channels", "have 1", generator=colour)


def test_protect_checks_the_generator_before_it_trains_a_surrogate(canvases: Any, make_generator: Any) -> None:
    steps: list[Any] = []
    with pytest.raises(ValueError, match=r"generator: made for 3 channels.* the images have 1"):
        mtlue.protect(canvases[:6], generator=make_generator(shape=(3, 16, 16)), epochs=1, batch_size=6, progress=steps.append)
    assert steps == []


class Flipped:
    def __init__(self, samples: Any) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        image, target = self.samples[index]
        return torch.rand(()).mul(255).byte() // 2 + image // 2, target


def test_random_augmentation(refused: Refused, canvases: Any) -> None:
    refused(Flipped(canvases), ValueError, "differs between two reads", "random augmentation", "with_transform")


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield torch.rand(1, 16, 16), {"shoe": 0, "front": 1}


class Unsized:
    def __getitem__(self, index: int) -> Any:
        return torch.rand(1, 16, 16), {"shoe": 0, "front": 1}


@pytest.mark.parametrize("dataset", [Endless(), Unsized(), 5, None, {1, 2}, (pair for pair in ())])
def test_no_length_or_index(refused: Refused, dataset: Any) -> None:
    refused(dataset, TypeError, "dataset: expected a map-style data set with __len__", type(dataset).__name__)


def test_empty(refused: Refused) -> None:
    refused([], ValueError, "dataset: expected at least one sample, got an empty data set")


def test_samples_that_are_no_pairs(refused: Refused, canvases: Any) -> None:
    single = [image for image, _ in canvases]
    refused(single, ValueError, r"expected a pair \(image, targets\), got Tensor")
    refused([(image, 1, 2) for image in single], ValueError, "got tuple of length 3")


class Unreadable(Flipped):
    def __getitem__(self, index: int) -> Any:
        if index == 7:
            raise OSError("no such file: 7.png")
        return self.samples[index]


def test_a_sample_that_cannot_be_read(refused: Refused, canvases: Any) -> None:
    refused(Unreadable(canvases), ValueError, "OSError: no such file: 7.png", r"\(sample 7\)")


def test_every_label_missing(refused: Refused, canvases: Any) -> None:
    missing = [(image, {**target, "front": -1}) for image, target in canvases]
    refused(missing, ValueError, "task 'front': every label is missing")


def test_all_faults_are_told_at_once(refused: Refused, canvases: Any) -> None:
    broken = with_label(with_label(canvases, 9, 2), 9, 30)
    broken = with_image(with_image(broken, torch.full((1, 16, 16), -3.0), 11), canvases[0][0].expand(3, -1, -1), 20)
    broken[40] = (broken[40][0], {"front": "left"})
    words = ("problems", r"label 9 .* \(samples 2, 30\)", r"normalised.*\(sample 11\)", "different numbers of channels")
    refused(broken, ValueError, *words, "missing 'shoe'")
    broken[41] = (broken[41][0], {"shoe": "x", "front": 8})
    refused(broken, ValueError, "task 'shoe': expected an integer label, got 'x'", r"label 8 .*\(sample 41\)")


def test_map_of_another_size_than_its_image(make_generator: Any) -> None:
    generator = make_generator({"parts": mtlue.Segmentation(3)}, (1, 8, 8))
    dataset = [(torch.rand(1, 8, 8), torch.zeros(8, 7, dtype=torch.long))] * 4
    for call in (
        lambda: mtlue.fit(generator, dataset, nn.Conv2d(1, 3, 1), loss=mtlue.EM(), progress=False),
        lambda: mtlue.protect(dataset, generator=generator, loss=mtlue.EM(), progress=False),
    ):
        with pytest.raises(ValueError, match=r"dataset: task 'parts': label map of \(8, 7\) pixels.* image .*\(8, 8\)"):
            call()


class Answers(nn.Linear):
    """Answers as a function of the logits tells."""

    def __init__(self, form: Callable[[torch.Tensor], Any]) -> None:
        super().__init__(256, 4)
        self.form = form

    def forward(self, images: torch.Tensor) -> Any:
        return self.form(super().forward(images.flatten(1)))


@pytest.mark.parametrize(
    ("form", "error", "words"),
    [
        (lambda x: {"shoe": x[:, :2]}, ValueError, ("surrogate output: missing 'front'", "there are 'shoe'")),
        (lambda x: (x[:, :2], x[:, :3]), ValueError, ("surrogate output of task 'front'", r"\(B, 2\)", r"got \(\d+, 3\)")),
        (lambda x: [x[:, :2]], ValueError, ("surrogate output: expected 2 values", "got 1")),
        (lambda x: x[:, :3], ValueError, ("surrogate output", "2 entries", r"got shape \(\d+, 3\)")),
        (lambda x: x.reshape(-1, 2, 2), ValueError, ("surrogate output", r"shape \(\d+, 2, 2\)")),
        (lambda x: {"shoe": x[:, :2], "front": 3}, TypeError, ("surrogate output of task 'front'", "a tensor, got int")),
        (lambda x: None, TypeError, ("surrogate output", "got NoneType")),
        (lambda x: x @ torch.ones(5), ValueError, ("surrogate: failed on images of shape", "RuntimeError")),
    ],
)
def test_answers_of_the_surrogate(refused: Refused, canvases: Any, form: Any, error: Any, words: tuple[str, ...]) -> None:
    refused(canvases, error, *words, surrogate=Answers(form))


def test_surrogate_of_other_tasks(refused: Refused, canvases: Any, net: nn.Module) -> None:
    refused(canvases, ValueError, "surrogate: its tasks .*'hat'.* generator's", surrogate=mtlue.Surrogate(net, {"hat": 2}))


def test_em_needs_a_parameter_to_train(refused: Refused, canvases: Any, net: nn.Module) -> None:
    net.requires_grad_(False)
    refused(canvases, ValueError, "surrogate: the loss trains it, but no parameter", loss=mtlue.EM())


def test_sep_with_state_dicts_of_another_model(refused: Refused, canvases: Any) -> None:
    refused(canvases, ValueError, "checkpoints: not state dicts of the surrogate", loss=mtlue.SEP([{"w": torch.ones(1)}]))


def test_numpy_labels_are_fine(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    dataset = [(image, {name: np.int64(label) for name, label in target.items()}) for image, target in canvases[:8]]
    history = mtlue.fit(make_generator(), dataset, net, loss=mtlue.EM(), epochs=1, batch_size=8, progress=False)
    assert len(history) == 1
