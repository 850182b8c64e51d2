"""The generator: budget, shapes, files, independence of samples, wrong input."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import mtlue
from literal import random_targets
from mtlue._runtime import load_tensors, save_tensors
from mtlue._runtime.bfloat16 import crash_in_bfloat16

MIXED = {"age": 5, "depth": mtlue.Depth(), "gender": 2, "parts": mtlue.Segmentation(3), "up": mtlue.SurfaceNormals()}


def make(shape: tuple[int, int, int] = (3, 7, 6), **options: object) -> mtlue.UEGenerator:
    torch.manual_seed(0)
    return mtlue.UEGenerator(MIXED, shape, width=4, **options).eval()  # type: ignore[arg-type]


def batch_for(generator: mtlue.UEGenerator, size: tuple[int, int], batch: int = 3) -> tuple[Tensor, dict[str, Tensor]]:
    images = torch.rand(batch, generator.image_shape[0], *size, generator=torch.Generator().manual_seed(1))
    return images, random_targets(generator.tasks, batch, size, seed=2)


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
    for mode in (crash_in_bfloat16() is None, False):
        with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=mode):
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


def test_the_label_changes_the_perturbation() -> None:
    generator = make(epsilon=1.0)
    images, targets = batch_for(generator, (7, 6))
    delta = generator(images, targets)
    for name, target in targets.items():
        other = generator(images, {**targets, name: target.roll(1, dims=0)})
        assert (other - delta).abs().max() > 1e-4, name


@pytest.mark.parametrize("bound", ["tanh", "clip"])
def test_a_saved_generator_gives_the_same_perturbations(tmp_path: Path, bound: str) -> None:
    generator = make(epsilon=0.1, bound=bound, embedding_channels=5)
    images, targets = batch_for(generator, (7, 6))
    generator.train()(images, targets)
    generator.eval().trained = True
    generator.save(tmp_path / "generator.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["generator.pt"]
    loaded = mtlue.UEGenerator.load(str(tmp_path / "generator.pt"), device="cpu")
    assert torch.equal(loaded(images, targets), generator(images, targets))
    assert loaded.config() == generator.config()
    assert list(loaded.tasks.items()) == list(generator.tasks.items())
    assert not loaded.training
    assert loaded.trained
    assert repr(loaded) == repr(generator)


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (str(self.path), "w"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("how", ["pickle", "torch", "inside"])
def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path: Path, how: str) -> None:
    trap, path = Malicious(tmp_path / "was here"), tmp_path / "generator.pt"
    if how == "pickle":
        path.write_bytes(pickle.dumps(trap))
    elif how == "torch":
        torch.save(trap, path)
    else:
        generator = make()
        torch.save({"format": "mtlue generator 1", "config": generator.config(), "state": trap}, path)
    with pytest.raises(ValueError, match=r"generator\.pt"):
        mtlue.UEGenerator.load(path)
    assert not trap.path.exists()


@settings(max_examples=60)
@given(content=st.binary(max_size=40))
def test_a_file_of_anything_else_is_a_value_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"anything\.pt"):
        mtlue.UEGenerator.load(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"no generator", pickle.dumps({"a": Path("b")}), b"PK\x03\x04 half a file"],
    ids=["empty", "text", "pickle", "archive"],
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_what_is_said_of_a_damaged_file_is_ours(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "generator.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged") as caught:
        mtlue.UEGenerator.load(path)
    # Without torch's advice to read the file in a way that runs code from it, which a chained error would show too.
    reason = "it cannot be read" if content.startswith(b"PK") else "it does not start as a file of tensors does"
    assert str(caught.value) == f"path: {path} is damaged, or is not a generator saved by mtlue: {reason}"
    assert "weights_only" not in "".join(traceback.format_exception(caught.value))


def test_what_is_missing_from_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "generator.pt"
    make().save(path)
    content = load_tensors(path)
    del content["config"]
    save_tensors(content, path)
    with pytest.raises(ValueError, match=r"path: the generator in .*generator\.pt cannot be used: it has no entry 'config'$"):
        mtlue.UEGenerator.load(path)


def test_a_damaged_or_foreign_file_is_a_value_error(tmp_path: Path) -> None:
    path = tmp_path / "generator.pt"
    make().save(path)
    whole = path.read_bytes()
    for length in (len(whole) // 2, len(whole) - 1, 100):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"generator\.pt"):
            mtlue.UEGenerator.load(path)
    path.write_bytes(whole)
    content = load_tensors(path)
    for foreign in (
        {"state_dict": {}},
        [1, 2],
        {name: content[name] for name in ("format", "config")},
        {**content, "state": {}},
        {**content, "state": 5},
        {**content, "config": {}},
        {**content, "config": {**content["config"], "width": 2**63}},
        {**content, "config": {**content["config"], "image_shape": [3, 10**9, 10**9]}},
        {**content, "config": {**content["config"], "tasks": [["age", "Classification", {"num_classes": 10**12}]]}},
        {**content, "config": {**content["config"], "tasks": [[[], "Classification", {"num_classes": 2}]]}},
        {**content, "config": {**content["config"], "tasks": [["age", [], {"num_classes": 2}]]}},
        {**content, "config": {**content["config"], "epsilon": 10**400}},
    ):
        save_tensors(foreign, path)
        with pytest.raises(ValueError, match=r"generator\.pt"):
            mtlue.UEGenerator.load(path)
    with pytest.raises(FileNotFoundError, match=r"^path: there is no file .*absent\.pt$"):
        mtlue.UEGenerator.load(tmp_path / "absent.pt")
    with pytest.raises(FileNotFoundError, match=r"^path: .*key\.pt cannot be written: there is no folder .*absent, or another"):
        make().save(tmp_path / "absent" / "key.pt")


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
        ({"tasks": {"a.b": mtlue.Depth()}}, ValueError, "'a.b' cannot be the name of a dense task"),
        ({"tasks": {"keys": mtlue.Depth()}}, ValueError, "'keys' cannot be the name of a dense task"),
        ({"tasks": {"": mtlue.Depth()}}, ValueError, "'' cannot be the name of a dense task"),
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
