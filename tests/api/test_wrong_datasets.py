"""Bad data sets are refused before any training, with a message that says what was expected and what came."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import mtlue
from mtlue._data import inspect_dataset
from refusals import Refused


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
        ("boot", (r"expected an integer label, got 'boot' \(str\); number the classes, or .* mtlue.datasets.ImageTable",)),
        (None, ("expected an integer label, got None; use -1 for a missing label",)),
        (torch.tensor([0, 1]), (r"expected one integer, got shape \(2,\); one-hot\? give its argmax",)),
        (torch.tensor([0.0, 0.0, 1.0]), (r"expected one integer, got shape \(3,\) \(",)),
    ],
)
def test_label(refused: Refused, canvases: Any, label: Any, words: tuple[str, ...]) -> None:
    refused(with_label(canvases, label), ValueError, "dataset", "task 'front'", r"\(sample 5\)", *words)


def test_strings_are_told_in_one_line(refused: Refused, canvases: Any) -> None:
    names = ["red", "blue", "red", "green", "black", "white"]
    broken = [(image, {**target, "front": name}) for (image, target), name in zip(canvases, names * 8, strict=True)]
    text = refused(broken, ValueError, "task 'front': expected an integer label, got 'red', 'blue', 'green' and 2 others")
    assert text.count("number the classes") == 1
    assert text.endswith("(samples 0, 1, 2 and 45 more)")


def test_normalised_images_are_told_in_one_line(refused: Refused, canvases: Any) -> None:
    broken = [(image.float() / 255 * (index + 1) - 4, target) for index, (image, target) in enumerate(canvases[:8])]
    values = torch.cat([image.flatten() for index, (image, _) in enumerate(broken) if index not in (0, 3)])
    # Two others: an image of bytes, and one that holds no number.
    broken[0] = (torch.full((1, 16, 16), float("nan")), broken[0][1])
    broken[3] = (canvases[3][0].float(), broken[3][1])
    text = refused(broken, ValueError, "dataset: 3 problems:", r"NaN or infinity \(sample 0\)", r"values reach .*\(sample 3\)")
    assert f"image values lie in [{values.min():.3g}, {values.max():.3g}], expected [0, 1]; a normalised image?" in text
    assert text.count("Take the normalisation out") == 1
    assert "(samples 1, 2, 4 and 3 more)" in text


def test_targets_of_the_wrong_form(refused: Refused, canvases: Any) -> None:
    named = [(image, {"shoe": 0}) for image, _ in canvases]
    refused(named, ValueError, "dataset", "targets: missing 'front'", "found 'shoe'")
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
    color = make_generator(shape=(3, 16, 16))
    refused(canvases, ValueError, "generator", "3 channels", "have 1", generator=color)


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


class Relabelled(list[Any]):
    """A set whose labels of one task are drawn when they are read, or whose samples come in another order each time."""

    def __init__(self, samples: Any, *, shuffled: bool = False) -> None:
        super().__init__(samples)
        self.reads, self.shuffled = 0, shuffled

    def __getitem__(self, index: Any) -> Any:
        self.reads += 1
        image, target = super().__getitem__((index + self.reads * self.shuffled) % len(self))
        return (image, target) if self.shuffled else (image, {**target, "front": self.reads % 2})


def test_labels_that_change(refused: Refused, canvases: Any) -> None:
    words = ("dataset: task 'front': the label differs between two reads", "random relabelling or shuffling", "sample")
    text = refused(Relabelled(canvases), ValueError, *words, "before you give the data set")
    assert "shoe" not in text
    assert "the image differs" not in text
    moved = refused(Relabelled(canvases, shuffled=True), ValueError, "the image differs between two reads")
    assert "task 'front': the label differs between two reads" in moved


def test_labels_are_compared_at_no_further_read(canvases: Any, make_net: Any, make_generator: Any) -> None:
    """48 samples of which every third is read twice, then one epoch."""
    dataset = Relabelled(canvases)
    with pytest.raises(ValueError, match=r"samples 0, 3, 6 and 13 more"):
        mtlue.fit(make_generator(), dataset, make_net(), loss=mtlue.EM(), progress=False)
    assert dataset.reads == 48 + 16


class Score(mtlue.Depth):
    """A kind of map whose labels may be no numbers where nothing is known."""

    def read_target(self, label: object) -> torch.Tensor:
        return torch.as_tensor(label)


def test_an_unknown_label_that_is_not_a_number_does_not_change() -> None:
    values = torch.full((1, 4, 4), torch.nan)
    values[0, 0, 0] = 2.0
    dataset: Any = [(torch.rand(1, 4, 4), {"score": values}) for _ in range(4)]
    assert inspect_dataset(dataset, {"score": Score()}).length == 4


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield torch.rand(1, 16, 16), {"shoe": 0, "front": 1}


class Unsized:
    def __getitem__(self, index: int) -> Any:
        return torch.rand(1, 16, 16), {"shoe": 0, "front": 1}


@pytest.mark.parametrize("dataset", [Endless(), Unsized(), 5, None, {1, 2}, (pair for pair in ())])
def test_no_length_or_index(refused: Refused, dataset: Any) -> None:
    refused(dataset, TypeError, "dataset: expected a map-style data set with __len__", type(dataset).__name__)


def test_what_to_give_instead(refused: Refused, canvases: Any) -> None:
    refused(DataLoader(canvases), TypeError, "got DataLoader, which lacks a length or an index; give its .dataset")
    refused(Endless(), TypeError, "got Endless, which lacks a length or an index; read it into a list")
    for path in ("shapes", Path("shapes")):
        words = r"dataset: expected a data set, got a path; mtlue.datasets.ImageTable\('shapes'\) reads a folder with a table"
        refused(path, TypeError, words)


def test_empty(refused: Refused) -> None:
    refused([], ValueError, "dataset: expected at least one sample, got an empty data set")


def test_samples_that_are_no_pairs(refused: Refused, canvases: Any) -> None:
    single = [image for image, _ in canvases]
    refused(single, ValueError, r"expected a pair \(image, targets\), got Tensor")
    words = "got tuple of length 3; several labels go into a dict or tuple of their own"
    refused([(image, 1, 2) for image in single], ValueError, words)


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


@pytest.mark.parametrize("tasks", [None, {"shoe": 2, "front": 2}])
def test_numpy_targets_are_read_as_a_tensor_is(canvases: Any, make_net: Any, tasks: Any) -> None:
    arrays = [(image, np.array([target["shoe"], target["front"]])) for image, target in canvases[:8]]
    tensors = [(image, torch.from_numpy(target)) for image, target in arrays]
    settings: dict[str, Any] = {"tasks": tasks, "loss": mtlue.EM(), "epochs": 1, "progress": False}
    safe, other = (mtlue.protect(each, surrogate=make_net(), **settings) for each in (arrays, tensors))
    assert safe.tasks == other.tasks
    assert len(safe.tasks) == 2
    assert all(torch.equal(safe[index][0], other[index][0]) for index in range(8))


def test_numpy_labels_are_fine(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    dataset = [(image, {name: np.int64(label) for name, label in target.items()}) for image, target in canvases[:8]]
    history = mtlue.fit(make_generator(), dataset, net, loss=mtlue.EM(), epochs=1, batch_size=8, progress=False)
    assert len(history) == 1
