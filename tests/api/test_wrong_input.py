"""Bad input is refused before any training, with a message that says what was expected and what came."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import mtlue
from mtlue.baselines import pgd

Refused = Callable[..., str]


@pytest.fixture(params=["fit", "protect"])
def refused(request: pytest.FixtureRequest, net: nn.Module, make_generator: Any) -> Refused:
    """Calls a verb with a data set and checks the error, and that nothing was trained before it."""

    def call(dataset: Any, error: type[Exception], *words: str, **arguments: Any) -> str:
        generator = arguments.pop("generator", None) or make_generator()
        surrogate = arguments.pop("surrogate", net)
        steps: list[Any] = []
        # In the first step the generator is in training mode, where norms follow what they see.
        kept = dict(generator.named_parameters() if arguments.pop("in_first_step", False) else generator.state_dict())
        before = {name: value.clone() for name, value in kept.items()}
        settings = {"loss": mtlue.TAP(), "epochs": 1, "batch_size": 8, "progress": steps.append, **arguments}
        verb = mtlue.fit if request.param == "fit" else mtlue.protect
        with pytest.raises(error) as caught:
            verb(dataset=dataset, generator=generator, surrogate=surrogate, **settings)
        assert steps == []
        assert all(torch.equal(before[name], value) for name, value in kept.items())
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
        ("boot", (r"expected an integer label, got 'boot' \(str\); number the classes, or .* mtlue.datasets.ImageTable",)),
        (None, ("expected an integer label, got None; -1 is a missing label",)),
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
    refused(DataLoader(canvases), TypeError, "got DataLoader, which has no length or no index; give its .dataset")
    refused(Endless(), TypeError, "got Endless, which has no length or no index; read it into a list")
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


class Lossy(mtlue.BaseUELoss):
    """A loss of the user's own that does what it is told to."""

    def __init__(self, form: Callable[..., Any]) -> None:
        self.form = form

    def __call__(self, surrogate: Any, images: Any, targets: Any) -> Any:
        return self.form(surrogate.loss(images, targets))


class Forward(mtlue.BaseUELoss):
    """The wrong method."""

    def forward(self, surrogate: Any, images: Any, targets: Any) -> Any:
        return surrogate.loss(images, targets)


class TwoArguments(mtlue.BaseUELoss):
    """The wrong arguments."""

    def __call__(self, outputs: Any, targets: Any) -> Any:  # type: ignore[override]  # wrong on purpose
        return outputs


@pytest.mark.parametrize("batch_size", [8, None])
@pytest.mark.parametrize(
    ("loss", "error", "words"),
    [
        (Lossy(lambda value: {}["shoe"]), ValueError, "loss: Lossy failed: KeyError: 'shoe'"),
        (TwoArguments(), ValueError, r"loss: TwoArguments failed: TypeError: .*takes 3 positional arguments but 4 were given"),
        (Forward(), TypeError, "loss: expected a scalar tensor from Forward, got NoneType; override __call__"),
        (Lossy(lambda value: None), TypeError, "from Lossy, got NoneType; is a return missing in its __call__"),
        (Lossy(lambda value: value.expand(3)), TypeError, r"loss: expected a scalar tensor from Lossy, got \(3,\)"),
    ],
)
def test_a_loss_of_ones_own(refused: Refused, canvases: Any, loss: Any, error: Any, words: str, batch_size: Any) -> None:
    refused(canvases, error, words, loss=loss, batch_size=batch_size, in_first_step=True)


def test_a_loss_that_fails_keeps_its_cause(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    loss = Lossy(lambda value: {}["shoe"])
    with pytest.raises(ValueError, match="loss: Lossy failed") as caught:
        mtlue.fit(make_generator(), canvases, net, loss=loss, progress=False)
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_loss_that_fails_does_so_before_a_surrogate_is_trained(canvases: Any) -> None:
    steps: list[Any] = []
    with pytest.raises(ValueError, match="loss: Lossy failed: KeyError"):
        mtlue.protect(canvases[:6], loss=Lossy(lambda value: {}["shoe"]), epochs=1, batch_size=6, progress=steps.append)
    assert steps == []


class Without(nn.Module):
    """A surrogate with a step that lets no gradient through."""

    def __init__(self, net: nn.Module, step: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.net, self.step = net, step

    def forward(self, images: torch.Tensor) -> Any:
        return self.net(self.step(images))


@torch.no_grad()
def half(images: torch.Tensor) -> torch.Tensor:
    return images / 2


NO_GRADIENT = "surrogate: no gradient reaches the images; is there torch.no_grad, .detach\\(\\) or a conversion to bytes"


@pytest.mark.parametrize("loss", ["em", "tap", "sep"])
@pytest.mark.parametrize("step", [half, torch.Tensor.detach, lambda images: (255 * images).byte().float() / 255])
def test_no_gradient_passes_the_surrogate(refused: Refused, canvases: Any, net: nn.Module, loss: str, step: Any) -> None:
    blind = Without(net, step)
    losses = {"em": mtlue.EM(), "tap": mtlue.TAP(), "sep": mtlue.SEP([blind])}
    refused(canvases, ValueError, NO_GRADIENT, surrogate=blind, loss=losses[loss], in_first_step=True)
    with pytest.raises(ValueError, match=NO_GRADIENT):
        pgd(canvases, tasks={"shoe": 2, "front": 2}, surrogate=blind, loss=losses[loss], steps=1, batch_size=8, progress=False)


def test_no_gradient_passes_the_loss_or_the_augmentation(
    refused: Refused, canvases: Any, net: nn.Module, make_generator: Any
) -> None:
    blind = Lossy(torch.Tensor.detach)
    refused(canvases, ValueError, NO_GRADIENT, loss=blind, in_first_step=True)
    settings: dict[str, Any] = {"batch_size": 8, "progress": False}
    for given in ({"loss": blind}, {"loss": mtlue.TAP(), "augment": torch.Tensor.detach}):
        with pytest.raises(ValueError, match=NO_GRADIENT):
            mtlue.fit(make_generator(), canvases, net, **given, **settings)
        with pytest.raises(ValueError, match=NO_GRADIENT):
            pgd(canvases, tasks={"shoe": 2, "front": 2}, surrogate=net, steps=1, **given, **settings)


def test_a_gradient_of_zero_is_one(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    history = mtlue.fit(
        make_generator(), canvases[:8], net, loss=Lossy(lambda value: (value - 1e6).relu()), epochs=1, progress=False
    )
    assert history[0].base_loss == 0.0


@pytest.mark.parametrize(
    ("augment", "words"),
    [
        (lambda images: images.expand(-1, 3, -1, -1), r"got \(8, 3, 16, 16\), torch.float32"),
        (lambda images: images.double(), r"got \(8, 1, 16, 16\), torch.float64"),
        (lambda images: (255 * images).byte(), r"got \(8, 1, 16, 16\), torch.uint8"),
        (lambda images: images.flatten(1), r"got \(8, 256\), torch.float32"),
    ],
)
def test_augmentation_of_another_form(canvases: Any, net: nn.Module, make_generator: Any, augment: Any, words: str) -> None:
    settings: dict[str, Any] = {"loss": mtlue.TAP(), "augment": augment, "batch_size": 8, "progress": False}
    words = r"augment: expected images with the same channels and dtype, \(B, 1, H, W\), torch.float32, " + words
    with pytest.raises(ValueError, match=words):
        mtlue.fit(make_generator(), canvases, net, **settings)
    with pytest.raises(ValueError, match=words):
        pgd(canvases, tasks={"shoe": 2, "front": 2}, surrogate=net, steps=1, **settings)


def test_augmentation_may_crop(canvases: Any, make_generator: Any) -> None:
    net = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16, 2))
    settings: dict[str, Any] = {"epochs": 1, "batch_size": 8, "progress": False, "augment": lambda images: images[..., 2:, 1:]}
    assert len(mtlue.fit(make_generator(), canvases[:8], net, loss=mtlue.EM(), **settings)) == 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_surrogate_in_another_precision(refused: Refused, canvases: Any, net: nn.Module, dtype: torch.dtype) -> None:
    words = f"surrogate: failed on .*; it has parameters of {dtype}, images are float32: give net.float\\(\\), and precision="
    refused(canvases, ValueError, words, surrogate=net.to(dtype))


def test_a_surrogate_that_converts_the_images_itself_is_fine(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    converting = Without(net.double(), torch.Tensor.double)
    assert len(mtlue.fit(make_generator(), canvases, converting, loss=mtlue.TAP(), epochs=1, progress=False)) == 1


def test_surrogate_without_weights(refused: Refused, canvases: Any, net: nn.Module) -> None:
    refused(canvases, ValueError, "surrogate: it is on the meta device, its weights were never made", surrogate=net.to("meta"))


def test_surrogate_that_is_a_class_or_a_name(refused: Refused, canvases: Any) -> None:
    words = r"surrogate: expected a torch.nn.Module, got the class Flatten; are its brackets missing\?"
    refused(canvases, TypeError, words, surrogate=nn.Flatten)
    words = r'surrogate: expected a torch.nn.Module, got str; mtlue.evaluation.build_model\("resnet50", tasks, image_shape'
    refused(canvases, TypeError, words, surrogate="resnet50")


def test_probabilities_are_not_logits(canvases: Any, make_generator: Any) -> None:
    def fit(form: Callable[[torch.Tensor], Any]) -> None:
        mtlue.fit(make_generator(), canvases[:8], Answers(form), loss=mtlue.EM(), epochs=1, progress=False)

    words = "surrogate: output of task 'front' looks like probabilities; give logits, without softmax"
    with pytest.warns(UserWarning, match=words) as caught:
        fit(lambda x: (x[:, :2], x[:, 2:].softmax(dim=1)))
    assert len(caught) == 1
    # Warnings are errors: these give none. A single logit, which is 1 for all, is read as (0, 1).
    fit(lambda x: (x[:, :2], x[:, 2:].log_softmax(dim=1)))
    fit(lambda x: (x[:, :2].exp(), 0 * x[:, 2] + 1))


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


class Labelled(mtlue.BaseUELoss):
    """A loss that is a constant where no label of the batch is known."""

    def __call__(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: Any) -> torch.Tensor:
        known = any(bool((target >= 0).any()) for target in targets.values())
        return surrogate.adversarial_loss(images, targets) if known else torch.zeros(())


def test_a_loss_may_be_a_constant_where_nothing_is_labelled(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    nothing = [(image, dict.fromkeys(targets, -1)) for image, targets in canvases[:14]]
    sparse = [*nothing, *canvases[14:16]]
    settings: dict[str, Any] = {"loss": Labelled(), "epochs": 1, "batch_size": 2, "progress": False}
    for seed in range(3):
        assert len(mtlue.fit(make_generator(), sparse, net, seed=seed, **settings)) == 1


def test_a_loss_that_is_always_a_constant(canvases: Any, net: nn.Module, make_generator: Any, tmp_path: Any) -> None:
    class Constant(mtlue.BaseUELoss):
        def __call__(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: Any) -> torch.Tensor:
            return torch.zeros(())

    with pytest.raises(ValueError, match="no gradient reaches the images"):
        mtlue.fit(make_generator(), canvases, net, loss=Constant(), checkpoint=tmp_path / "run.pt", progress=False)
    assert not (tmp_path / "run.pt").exists()


def test_a_generator_that_cannot_be_trained(canvases: Any, net: nn.Module, make_generator: Any) -> None:
    with pytest.raises(ValueError, match="generator: expected parameters to train, got none"):
        mtlue.fit(make_generator().requires_grad_(False), canvases, net, loss=mtlue.TAP(), progress=False)


def test_a_checkpoint_in_a_folder_that_is_not_there(canvases: Any, net: nn.Module, make_generator: Any, tmp_path: Any) -> None:
    with pytest.raises(FileNotFoundError, match=r"checkpoint: there is no folder .*nowhere"):
        mtlue.fit(make_generator(), canvases, net, loss=mtlue.TAP(), checkpoint=tmp_path / "nowhere" / "run.pt", progress=False)
