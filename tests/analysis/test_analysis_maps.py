"""Pictures of label maps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mtlue
from mtlue import analysis

TASKS = {"age": 3, "parts": mtlue.Segmentation(3), "depth": mtlue.Depth(), "normals": mtlue.SurfaceNormals()}


def maps() -> dict[str, torch.Tensor]:
    """One sample of one row of two pixels; the second has no label."""
    normals = torch.zeros(1, 3, 1, 2)
    normals[0, 2, 0, 0] = 1
    return {"parts": torch.tensor([[[1, -1]]]), "depth": torch.tensor([[[[2.0, 0.0]]]]), "normals": normals}


def pictures(figure: Any) -> list[torch.Tensor]:
    return [torch.as_tensor(axes.images[0].get_array()) for axes in figure.axes]


def test_labels_become_colors_and_what_is_missing_white() -> None:
    figure = analysis.plot_maps(torch.zeros(1, 3, 1, 2), {"truth": maps()}, tasks=TASKS)
    assert [axes.get_ylabel() for axes in figure.axes] == ["image", "parts\ntruth", "depth\ntruth", "normals\ntruth"]
    _, parts, depth, normals = pictures(figure)
    torch.testing.assert_close(parts[0, 0], torch.tensor([174, 199, 232]) / 255)  # the second colour of tab20
    torch.testing.assert_close(normals[0, 0], torch.tensor([0.5, 0.5, 1.0]))
    torch.testing.assert_close(depth[0, 0], torch.tensor([0.993248, 0.906157, 0.143936]))  # the end of viridis
    for drawn in (parts, depth, normals):
        assert bool((drawn[0, 1] == 1).all())


def test_logits_become_the_likeliest_class_and_depths_are_scaled_to_the_first_source() -> None:
    logits = torch.tensor([0.0, 5.0, 1.0]).reshape(1, 3, 1, 1).expand(1, 3, 1, 2)
    answer = {**maps(), "parts": logits, "depth": torch.tensor([[[[1.0, 9.0]]]])}
    figure = analysis.plot_maps(torch.zeros(1, 1, 1, 2), {"truth": maps(), "model": answer}, tasks=TASKS)
    _, truth, model, true_depth, depth, *_ = pictures(figure)
    assert torch.equal(truth[0, 0], model[0, 0])
    assert torch.equal(model[0, 0], model[0, 1])
    assert torch.equal(depth[0, 1], true_depth[0, 0])
    assert not torch.equal(depth[0, 0], true_depth[0, 0])


def test_a_picture_is_written(tmp_path: Path) -> None:
    analysis.plot_maps(torch.rand(1, 3, 1, 2), {"truth": maps()}, tmp_path / "maps.png", tasks=TASKS)
    assert (tmp_path / "maps.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": {"age": 3}}, "tasks: expected a task whose labels are maps"),
        ({"maps": {}}, "maps: expected a dict with the maps of at least one source"),
        ({"maps": {"truth": {}}}, r"maps\['truth'\]: .*'parts' is missing"),
        ({"maps": {"truth": {**maps(), "depth": torch.zeros(1, 1, 2, 2)}}}, r"maps\['truth'\]\['depth'\]: shape"),
    ],
)
def test_what_cannot_be_drawn_is_told(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"maps": {"truth": maps()}, "tasks": TASKS, **change}
    with pytest.raises(ValueError, match=message):
        analysis.plot_maps(torch.zeros(1, 3, 1, 2), arguments["maps"], tasks=arguments["tasks"])


class Heat(mtlue.Depth):
    """A kind from outside, with a picture of its own."""


@analysis.draw_map.register(Heat)
def _(task: Heat, values: Tensor, first: Tensor) -> Tensor:
    return (values / first.max()).clamp(0, 1).expand(-1, 3, -1, -1)


class Waves(mtlue.Task):
    """A kind of map of which nothing is registered."""

    output_channels = property(lambda self: 1)  # type: ignore[assignment]  # the shortest property there is

    def read_target(self, label: object) -> Tensor:
        return torch.as_tensor(label)

    def read_output(self, output: Tensor) -> Tensor:
        return output

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return (output - target).mean()

    def missing(self, target: Tensor) -> Tensor:
        return target.flatten(1).isnan().all(dim=1)


def test_a_kind_from_outside_is_drawn_as_it_is_registered() -> None:
    warm, hot = (torch.tensor([[[[value, 0.0]]]]) for value in (1.0, 4.0))
    sources = {"truth": {"heat": hot}, "model": {"heat": warm}}
    figure = analysis.plot_maps(torch.zeros(1, 3, 1, 2), sources, tasks={"heat": Heat()})
    _, truth, model = pictures(figure)
    assert truth[0].tolist() == [[1.0] * 3, [0.0] * 3]
    assert model[0].tolist() == [[0.25] * 3, [0.0] * 3]


def test_a_map_without_a_picture_is_named_and_the_others_drawn() -> None:
    tasks = {**TASKS, "sea": Waves()}
    sentence = (
        r"^tasks: 'sea' is left out: no picture is registered for Waves; register a function with analysis\.draw_map\.register$"
    )
    with pytest.warns(UserWarning, match=sentence):
        figure = analysis.plot_maps(torch.zeros(1, 3, 1, 2), {"truth": maps()}, tasks=tasks)
    assert [axes.get_ylabel() for axes in figure.axes] == ["image", "parts\ntruth", "depth\ntruth", "normals\ntruth"]
    with pytest.warns(UserWarning, match=sentence), pytest.raises(ValueError, match=r"maps that can be drawn, got \['sea'\]"):
        analysis.plot_maps(torch.zeros(1, 3, 1, 2), {"truth": {}}, tasks={"sea": Waves()})
    with pytest.raises(TypeError, match="no picture is registered for Waves"):
        analysis.draw_map(Waves(), torch.zeros(1, 1, 1, 2), torch.zeros(1, 1, 1, 2))
