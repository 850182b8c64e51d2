"""The generator: budget, shapes, independence of samples, wrong input."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import mtlue
from literal import random_targets
from mtlue._runtime.device import autocast
from small_generator import batch_for, make


def saturate(generator: mtlue.UEGenerator) -> None:
    with torch.no_grad():
        generator.decoder.refine[-1].weight.mul_(1e4)


def test_the_generator_of_the_paper_has_its_number_of_parameters() -> None:
    generator = mtlue.UEGenerator({f"attribute {number}": 2 for number in range(40)}, (3, 70, 70))
    counts = {
        name: sum(parameter.numel() for parameter in part.parameters() if parameter.requires_grad)
        for name, part in [*generator.named_children(), ("all", generator)]
    }
    assert counts == {"encoder": 675_392, "decoder": 842_755, "embeddings": 1_568_000, "embedders": 0, "all": 3_086_147}


@settings(max_examples=30)
@given(
    size=st.tuples(st.integers(2, 20), st.integers(2, 20)),
    image_size=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    channels=st.integers(1, 5),
    epsilon=st.one_of(st.just(8 / 255), st.floats(1e-6, 1.0)),
    bound=st.sampled_from(["tanh", "clip"]),
)
def test_no_entry_of_a_perturbation_is_above_epsilon(
    size: tuple[int, int], image_size: tuple[int, int], channels: int, epsilon: float, bound: str
) -> None:
    torch.manual_seed(0)
    generator = mtlue.UEGenerator({"age": 3}, (channels, *size), epsilon=epsilon, width=2, embedding_channels=2, bound=bound)
    saturate(generator)
    images = torch.rand(2, channels, *image_size)
    for precision in (torch.bfloat16, torch.float32):
        with torch.no_grad(), autocast(torch.device("cpu"), precision):
            delta = generator.eval()(images, torch.tensor([2, -1]))
            protected = generator.perturb(images, torch.tensor([2, -1]))
        assert delta.shape == images.shape
        assert delta.dtype == torch.float32
        assert delta.abs().max().item() <= epsilon
        assert delta.abs().max().item() >= 0.99 * epsilon or size != image_size
        assert protected.min() >= 0.0
        assert protected.max() <= 1.0
        torch.testing.assert_close(protected, (images + delta).clamp(0, 1))


@pytest.mark.parametrize("epsilon", [numerator / 255 for numerator in (1, 2, 4, 7, 8, 16, 32)])
@pytest.mark.parametrize("bound", ["tanh", "clip"])
def test_the_usual_budgets_hold_exactly_when_saturated(epsilon: float, bound: str) -> None:
    generator = make(epsilon=epsilon, bound=bound)
    saturate(generator)
    largest = generator(*batch_for(generator, (7, 6))).abs().max().item()
    assert epsilon * (1 - 1e-6) < largest <= epsilon


@pytest.mark.parametrize("size", [(7, 6), (14, 13), (3, 4), (1, 1)], ids=str)
def test_images_of_another_size_are_resized_in_and_their_perturbation_out(size: tuple[int, int]) -> None:
    generator = make()
    images, labels = batch_for(generator, size)
    targets = {"age": labels["age"], "gender": labels["gender"], **random_dense(size)}
    inner = images if size == (7, 6) else F.interpolate(images, size=(7, 6), mode="bilinear", antialias=True)
    nearest = {name: nearest_map(target) if target.ndim > 1 else target for name, target in targets.items()}
    delta = generator(inner, nearest)
    expected = delta if size == (7, 6) else F.interpolate(delta, size=size, mode="bilinear", antialias=True)
    torch.testing.assert_close(generator(images, targets), expected)


def random_dense(size: tuple[int, int]) -> dict[str, Tensor]:
    targets = random_targets(make().tasks, 3, size, seed=4)
    return {name: target for name, target in targets.items() if target.ndim > 1}


def nearest_map(target: Tensor) -> Tensor:
    rows = ((torch.arange(7) + 0.5) * target.shape[-2] / 7).long()
    columns = ((torch.arange(6) + 0.5) * target.shape[-1] / 6).long()
    return target[..., rows, :][..., columns]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_images_of_any_float_type_give_float32(dtype: torch.dtype) -> None:
    generator = make()
    images, targets = batch_for(generator, (7, 6))
    delta = generator(images.to(dtype), targets)
    assert delta.dtype == torch.float32
    torch.testing.assert_close(delta, generator(images.to(dtype).float(), targets), atol=1e-5, rtol=0)


@settings(max_examples=15)
@given(order=st.permutations(range(6)))
def test_a_perturbation_depends_on_its_own_sample_alone(order: list[int]) -> None:
    generator = make()
    images, targets = batch_for(generator, (7, 6), batch=6)
    with torch.no_grad():
        delta = generator(images, targets)
        permuted = generator(images[order], {name: target[order] for name, target in targets.items()})
        few = generator(images[:2], {name: target[:2] for name, target in targets.items()})
    torch.testing.assert_close(permuted, delta[order], atol=1e-6, rtol=0)
    torch.testing.assert_close(few, delta[:2], atol=1e-6, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 3), (3, 2), (3, 3)], ids=str)
@pytest.mark.parametrize("count", [1, 2])
def test_it_is_not_trained_on_a_single_value(size: tuple[int, int], count: int) -> None:
    generator = mtlue.UEGenerator({"age": 2}, (1, *size), width=1)
    generator.train_on(count)
    with torch.no_grad():
        features = generator.encoder(torch.rand(count, 1, *size))
    assert generator.training == (features[:, 0].numel() > 1)


def test_the_label_changes_the_perturbation() -> None:
    generator = make(epsilon=1.0)
    images, targets = batch_for(generator, (7, 6))
    delta = generator(images, targets)
    for name, target in targets.items():
        other = generator(images, {**targets, name: target.roll(1, dims=0)})
        assert (other - delta).abs().max() > 1e-4, name


def test_a_shape_that_looks_like_one_with_channels_last_is_warned_of() -> None:
    with pytest.warns(UserWarning, match=r"image_shape: expected .* got \(16, 12, 3\), which looks like \(height, width, chan"):
        assert mtlue.UEGenerator({"age": 2}, (16, 12, 3), width=2).image_shape == (16, 12, 3)
    # Eight bands of a satellite, and warnings are errors.
    mtlue.UEGenerator({"age": 2}, (8, 16, 3), width=2)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"epsilon": 0}, ValueError, "epsilon: expected 0 < epsilon <= 1, got 0"),
        ({"epsilon": -0.1}, ValueError, "epsilon: .* got -0.1"),
        ({"epsilon": 8}, ValueError, "epsilon: .* got 8; on the scale of \\[0, 1\\] that is 8/255"),
        ({"epsilon": float("nan")}, ValueError, "epsilon: .* got nan"),
        ({"epsilon": "8/255"}, TypeError, "epsilon: expected a number such as 8/255, got '8/255'"),
        ({"bound": "sigmoid"}, ValueError, "bound: expected one of \\['clip', 'tanh'\\], got 'sigmoid'"),
        ({"width": 0}, ValueError, "width: expected at least 1, got 0"),
        ({"embedding_channels": 0}, ValueError, "embedding_channels: expected .* got 0"),
        ({"image_shape": (3, 0, 4)}, ValueError, "image_shape: .* got \\(3, 0, 4\\)"),
        ({"image_shape": (32, 32)}, ValueError, "image_shape: .* got \\(32, 32\\)"),
        ({"image_shape": (3, 32.0, 32)}, ValueError, "image_shape: .* got \\(3, 32.0, 32\\)"),
        ({"image_shape": 32}, TypeError, "image_shape: .* got 32"),
        ({"tasks": {"a.b": mtlue.Depth()}}, ValueError, "'a.b' cannot name a dense task"),
        ({"tasks": {"keys": mtlue.Depth()}}, ValueError, "'keys' cannot name a dense task"),
        ({"tasks": {"": mtlue.Depth()}}, ValueError, "'' cannot name a dense task"),
        ({"tasks": {}}, ValueError, "tasks: expected at least one task"),
    ],
    ids=str,
)
def test_wrong_arguments(options: dict[str, object], error: type[Exception], message: str) -> None:
    arguments = {"tasks": {"age": 3}, "image_shape": (3, 8, 8), **options}
    with pytest.raises(error, match=message):
        mtlue.UEGenerator(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"images": torch.rand(3, 1, 7, 6)}, ValueError, "images: expected shape \\(B, 3, H, W\\), got \\(3, 1, 7, 6\\)"),
        ({"images": torch.rand(3, 7, 6)}, ValueError, "images: .* got \\(3, 7, 6\\)"),
        (
            {"images": torch.zeros(3, 3, 7, 6, dtype=torch.uint8)},
            TypeError,
            "images: expected a tensor of floats .* got torch.uint8",
        ),
        ({"targets": torch.tensor([0, 1])}, ValueError, "task 'age' has shape \\(2,\\) for 3 images"),
        ({"targets": torch.tensor([0, 1, 3])}, ValueError, "task 'age': label 3 is out of range"),
        ({"protected_tasks": ["agee"]}, ValueError, "protected_tasks: unknown \\['agee'\\]; the tasks are \\['age'\\]"),
        ({"protected_tasks": "age"}, TypeError, "protected_tasks: expected a list of task names, got 'age'"),
        ({"protected_tasks": []}, ValueError, "protected_tasks: expected at least one"),
    ],
)
@pytest.mark.parametrize("method", ["forward", "perturb"])
def test_wrong_input(method: str, changes: dict[str, object], error: type[Exception], message: str) -> None:
    generator = mtlue.UEGenerator({"age": 3}, (3, 7, 6), width=2)
    arguments = {"images": torch.rand(3, 3, 7, 6), "targets": torch.tensor([0, 1, 2]), **changes}
    with pytest.raises(error, match=message):
        getattr(generator, method)(arguments.pop("images"), arguments.pop("targets"), **arguments)
