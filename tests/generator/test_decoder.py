"""The factored decoder equals the concatenation of the paper, in value and in every gradient."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

import mtlue
from literal import literal_perturbation, random_targets

BATCH = 4
CASES: dict[str, Mapping[str, mtlue.Task | int]] = {
    "classification": {"age": 4, "race": 3, "gender": 2},
    "dense": {"depth": mtlue.Depth(), "parts": mtlue.Segmentation(3), "normals": mtlue.SurfaceNormals()},
    "mixed": {"depth": mtlue.Depth(), "age": 3, "parts": mtlue.Segmentation(3, ignore_index=-1), "gender": 2},
    "more classes than samples": {"gender": 2, "identity": 11, "age": 3, "depth": mtlue.Depth()},
    "only more classes than samples": {"identity": 11, "other": 5},
}


def make(
    tasks: Mapping[str, mtlue.Task | int], size: tuple[int, int], *, bound: str = "tanh"
) -> tuple[mtlue.UEGenerator, Tensor, dict[str, Tensor]]:
    torch.manual_seed(1)
    # A budget of 1, so that a tolerance of 1e-5 is one of the decoder's own output.
    generator = mtlue.UEGenerator(tasks, (3, *size), epsilon=1.0, embedding_channels=3, width=6, bound=bound)
    for embedder in generator.embedders.values():
        embedder.mean_embedding.normal_()
    images = torch.rand(BATCH, 3, *size)
    return generator, images, random_targets(generator.tasks, BATCH, size, seed=2)


def gradients(delta: Tensor, generator: mtlue.UEGenerator) -> dict[str, Tensor | None]:
    weights = torch.randn(delta.shape, generator=torch.Generator().manual_seed(5)).to(delta.dtype)
    generator.zero_grad()
    (delta * weights).mean().backward()
    return {name: parameter.grad for name, parameter in generator.named_parameters()}


def assert_equal_gradients(got: dict[str, Tensor | None], expected: dict[str, Tensor | None]) -> None:
    for name, gradient in expected.items():
        found = got[name]
        assert (found is None) == (gradient is None), name
        if found is not None and gradient is not None:
            torch.testing.assert_close(found, gradient, atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("size", [(6, 8), (7, 9), (5, 2)], ids=str)
@pytest.mark.parametrize("tasks", CASES.values(), ids=CASES)
def test_value_and_gradients_equal_those_of_the_concatenation(
    tasks: Mapping[str, mtlue.Task | int], size: tuple[int, int]
) -> None:
    generator, images, targets = make(tasks, size)
    generator.eval()
    delta, expected = generator(images, targets), literal_perturbation(generator, images, targets)
    torch.testing.assert_close(delta, expected, atol=1e-5, rtol=0)
    assert delta.abs().mean() > 0.1
    assert_equal_gradients(gradients(delta, generator), gradients(expected, generator))


@pytest.mark.parametrize("tasks", CASES.values(), ids=CASES)
def test_in_training_mode_too(tasks: Mapping[str, mtlue.Task | int]) -> None:
    """Batch statistics and running means are those of a literal pass."""
    generator, images, targets = make(tasks, (5, 6))
    oracle = copy.deepcopy(generator)
    delta, expected = generator(images, targets), literal_perturbation(oracle, images, targets)
    torch.testing.assert_close(delta, expected, atol=1e-5, rtol=0)
    assert_equal_gradients(gradients(delta, generator), gradients(expected, oracle))
    for (name, buffer), (_, other) in zip(generator.named_buffers(), oracle.named_buffers(), strict=True):
        torch.testing.assert_close(buffer, other, msg=name)


@pytest.mark.parametrize("tasks", CASES.values(), ids=CASES)
def test_unprotected_tasks_enter_as_their_mean_embedding(tasks: Mapping[str, mtlue.Task | int]) -> None:
    generator, images, targets = make(tasks, (5, 6))
    generator.eval()
    for name in tasks:
        delta = generator(images, targets, protected_tasks=[name])
        expected = literal_perturbation(generator, images, targets, protected_tasks=[name])
        torch.testing.assert_close(delta, expected, atol=1e-5, rtol=0)
        assert_equal_gradients(gradients(delta, generator), gradients(expected, generator))
        others = {other: torch.roll(target, 1, dims=0) for other, target in targets.items() if other != name}
        assert torch.equal(generator(images, {**targets, **others}, protected_tasks=[name]), delta)


def test_the_clip_bound_equals_the_concatenation_clipped() -> None:
    generator, images, targets = make(CASES["mixed"], (7, 5), bound="clip")
    generator.eval().epsilon = 0.2
    delta, expected = generator(images, targets), literal_perturbation(generator, images, targets)
    torch.testing.assert_close(delta, expected, atol=1e-5, rtol=0)
    assert 0.05 < (delta.abs() == delta.abs().max()).float().mean() < 0.95
    assert_equal_gradients(gradients(delta, generator), gradients(expected, generator))


@pytest.mark.parametrize("tasks", CASES.values(), ids=CASES)
def test_reused_tables_equal_the_concatenation(tasks: Mapping[str, mtlue.Task | int]) -> None:
    generator, images, targets = make(tasks, (7, 6))
    generator.eval()
    with torch.no_grad(), generator.reuse_tables(generator.spread_tables()):
        whole = generator(images, targets)
        single = generator(images[2:], {name: target[2:] for name, target in targets.items()})
        partial = generator(images, targets, protected_tasks=[next(iter(tasks))])
    with torch.no_grad():
        expected = literal_perturbation(generator, images, targets)
        expected_partial = literal_perturbation(generator, images, targets, protected_tasks=[next(iter(tasks))])
    torch.testing.assert_close(whole, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(single, expected[2:], atol=1e-5, rtol=0)
    torch.testing.assert_close(partial, expected_partial, atol=1e-5, rtol=0)


def test_tables_are_computed_once_while_reused_and_anew_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    generator, images, targets = make(CASES["mixed"], (6, 6))
    generator.eval()
    calls = []
    spread = generator.decoder.spread
    monkeypatch.setattr(generator.decoder, "spread", lambda tables: calls.append(len(tables)) or spread(tables))
    with torch.no_grad(), generator.reuse_tables(generator.spread_tables()):
        before = generator(images, targets)
        generator(images, targets)
        assert calls == [2]
    with torch.no_grad():
        generator.embeddings["age"].mul_(-1)
        torch.testing.assert_close(generator(images, targets), literal_perturbation(generator, images, targets))
        assert not torch.allclose(generator(images, targets), before)
    with pytest.raises(KeyError), torch.no_grad(), generator.reuse_tables(generator.spread_tables()):
        raise KeyError
    with torch.no_grad():
        generator.embeddings["age"].mul_(-1)
        torch.testing.assert_close(generator(images, targets), before)


@pytest.mark.parametrize(("classes", "fits"), [(256, True), (257, False)])
def test_tables_are_kept_up_to_a_gigabyte(classes: int, fits: bool) -> None:
    with torch.device("meta"):
        spread = mtlue.UEGenerator({"id": classes}, (3, 127, 127), width=64).spread_tables()
    assert (spread is not None) == fits
    if spread is not None:
        assert spread.numel() * spread.itemsize == 2**30
    assert mtlue.UEGenerator({"depth": mtlue.Depth()}, (3, 4, 4), width=2).spread_tables() is None


def test_reused_tables_let_gradients_through() -> None:
    generator, images, targets = make(CASES["classification"], (6, 6))
    generator.eval()
    with generator.reuse_tables(generator.spread_tables()):
        reused = gradients(generator(images, targets), generator)
    assert_equal_gradients(reused, gradients(literal_perturbation(generator, images, targets), generator))
    assert reused["embeddings._tables.0"] is not None
