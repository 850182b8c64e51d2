"""Class embeddings in the plane (figure 7)."""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mtlue
from mtlue.analysis import plot_embeddings, tsne
from optional import needs

np = needs("numpy", extra="analysis")
needs("sklearn.manifold", extra="analysis")
needs("matplotlib.figure", extra="analysis")


def clusters(count: int, size: int) -> torch.Tensor:
    """Points in some clusters far from each other, shape (count * size, 8, 1, 1)."""
    generator = torch.Generator().manual_seed(0)
    centres = 100 * torch.eye(8)[:count]
    return (centres.repeat_interleave(size, dim=0) + torch.rand(count * size, 8, generator=generator)).reshape(-1, 8, 1, 1)


def test_neighbours_stay_neighbours() -> None:
    places = tsne(clusters(3, 6), perplexity=4)
    assert places.shape == (18, 2)
    assert places.dtype == torch.float32
    distances = torch.cdist(places, places).fill_diagonal_(math.inf)
    group = torch.arange(18) // 6
    assert torch.equal(group[distances.argmin(dim=1)], group)
    within = distances.masked_fill(group[:, None] != group, -math.inf).masked_fill(torch.eye(18).bool(), -math.inf).max()
    assert within < distances.masked_fill(group[:, None] == group, math.inf).min()


def test_the_seed_decides() -> None:
    points = torch.rand(7, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(tsne(points, seed=3), tsne(points.clone(), seed=3))
    assert not torch.allclose(tsne(points, seed=3), tsne(points, seed=4))


def test_no_global_random_number_is_drawn() -> None:
    before = (random.getstate(), np.random.get_state(), torch.get_rng_state())
    tsne(torch.rand(7, 5, generator=torch.Generator().manual_seed(0)))
    after = (random.getstate(), np.random.get_state(), torch.get_rng_state())
    assert after[0] == before[0]
    assert all(np.array_equal(left, right) for left, right in zip(after[1], before[1], strict=True))
    assert torch.equal(after[2], before[2])


@pytest.mark.parametrize("count", [2, 3, 4, 32])
def test_few_points_and_many_and_a_parameter(count: int) -> None:
    points = torch.nn.Parameter(torch.arange(count).float().reshape(count, 1))
    places = tsne(points)
    assert places.shape == (count, 2)
    assert bool(places.isfinite().all())
    assert not places.requires_grad


@pytest.mark.parametrize(
    ("arguments", "options", "kind", "message"),
    [
        (([[1.0], [2.0]],), {}, TypeError, "embeddings: expected a tensor of shape .* got list"),
        ((torch.rand(1, 3),), {}, ValueError, r"embeddings: .* at least 2 points, got \(1, 3\)"),
        ((torch.rand(3),), {}, ValueError, r"embeddings: .* at least 2 points, got \(3,\)"),
        ((torch.full((2, 3), math.inf),), {}, ValueError, "embeddings: expected finite numbers"),
        ((torch.rand(4, 3),), {"perplexity": 4}, ValueError, "perplexity: expected less than 4, the number of points, got 4"),
        ((torch.rand(4, 3),), {"perplexity": 0}, ValueError, "perplexity: expected a number > 0, got 0"),
        ((torch.rand(4, 3),), {"perplexity": "3"}, TypeError, "perplexity: expected a number, got '3'"),
        ((torch.rand(4, 3),), {"seed": -1}, ValueError, "seed: expected at least 0, got -1"),
    ],
)
def test_wrong_arguments(arguments: Any, options: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        tsne(*arguments, **options)


def test_a_picture_has_a_point_a_class_and_a_look_a_task(tmp_path: Path) -> None:
    bank = mtlue.ClassEmbeddingBank({"age": 9, "depth": mtlue.Depth(), "race": 5, "gender": 2}, channels=2, size=(3, 3))
    figure = plot_embeddings(bank, tmp_path / "picture.png", seed=5)
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    (axes,) = figure.axes
    assert [len(points.get_offsets()) for points in axes.collections] == [9, 5, 2]
    assert len({tuple(points.get_facecolor()[0]) for points in axes.collections}) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["age", "race", "gender"]
    assert [text.get_text() for text in axes.texts] == [*"012345678", *"01234", *"01"]
    drawn = torch.cat([torch.as_tensor(np.asarray(points.get_offsets())) for points in axes.collections])
    expected = tsne(torch.cat([bank[name].detach() for name in bank]), seed=5)
    torch.testing.assert_close(drawn.float(), expected)


def test_a_generator_and_one_task_of_two_classes(make_generator: Callable[..., mtlue.UEGenerator]) -> None:
    generator = make_generator({"gender": 2})
    (axes,) = plot_embeddings(generator).axes
    assert [len(points.get_offsets()) for points in axes.collections] == [2]


def test_forty_tasks_can_be_told_apart() -> None:
    bank = mtlue.ClassEmbeddingBank({f"attribute {index}": 2 for index in range(40)}, channels=1, size=(1, 1))
    (axes,) = plot_embeddings(bank).axes
    looks = {(tuple(each.get_facecolor()[0]), each.get_paths()[0].vertices.tobytes()) for each in axes.collections}
    assert len(looks) == 40
    assert not axes.texts


def test_what_has_no_embeddings_to_show() -> None:
    with pytest.raises(TypeError, match=r"bank: expected a mtlue.ClassEmbeddingBank or a mtlue.UEGenerator, got dict"):
        plot_embeddings({"age": torch.rand(3, 2)})  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ValueError, match="bank: expected at least 2 class embeddings, got 0; tasks whose labels are maps"):
        plot_embeddings(mtlue.ClassEmbeddingBank({"depth": mtlue.Depth()}, size=(2, 2)))


def test_without_the_library_the_message_is_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    with pytest.raises(ImportError, match=r'sklearn is needed .* pip install "mtlue\[analysis\]"'):
        tsne(torch.rand(4, 3))
