"""What error minimisation against networks that start anew is called, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

import mtlue
from mtlue import defenses
from mtlue._losses.redrawn import redrawn
from restarted_networks import Net, batch, half


class Gain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))


def test_a_module_that_draws_no_parameters_is_named() -> None:
    images, clean, targets = batch()
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2), nn.Sequential(Gain()))
    words = r"^surrogate: Gain has no reset_parameters that draws '2\.0\.gain' anew; add one, or pass the loss make="
    with pytest.raises(ValueError, match=words):
        mtlue.RestartedEM()(mtlue.Surrogate(net, {"colour": 2}), images, targets, clean)


def test_a_module_may_draw_the_parameters_of_its_parts() -> None:
    class Drawing(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lists = nn.ParameterList([torch.ones(2)])
            self.part = nn.Linear(2, 2)
            self.attention = nn.MultiheadAttention(4, 2)

        def reset_parameters(self) -> None:
            nn.init.uniform_(self.lists[0])
            nn.init.constant_(self.part.weight, 3.0)

    made = redrawn(Drawing())
    assert (made.part.weight == 3).all()  # type: ignore[union-attr]
    assert made.lists[0].isfinite().all()  # type: ignore[index]


def test_its_settings_are_its_name(tmp_path: Path, script: ModuleType) -> None:
    loss = mtlue.RestartedEM(count=2, distortions=[defenses.differentiable_jpeg])
    assert repr(loss) == (
        "RestartedEM(make=None, count=2, restart_steps=400, restart_loss=0.3, learning_rate=0.003, "
        "distortions=[differentiable_jpeg], curriculum=True, focus=0.0, balanced=True, misleading=0.0)"
    )
    script.fit("", tmp_path / "run.pt", epochs=1, loss=loss)
    with pytest.raises(ValueError, match=r"loss was 'RestartedEM\(make=None, count=2.*, is 'RestartedEM\(make=None, count=3"):
        script.fit("", tmp_path / "run.pt", epochs=1, loss=mtlue.RestartedEM(count=3))
    assert not loss.needs_trained_surrogate
    assert mtlue.RestartedEM(misleading=0.5).needs_trained_surrogate


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda: mtlue.RestartedEM(Net()), TypeError, r"^make: expected a function that makes .* from a seed, got Net$"),
        (lambda: mtlue.RestartedEM("net"), TypeError, r"^make: expected a function that makes .* from a seed, got str$"),  # type: ignore[arg-type]
        (lambda: mtlue.RestartedEM(count=0), ValueError, r"^count: expected at least 1, got 0$"),
        (lambda: mtlue.RestartedEM(restart_steps=0), ValueError, r"^restart_steps: expected at least 1, got 0$"),
        (
            lambda: mtlue.RestartedEM(restart_loss=1.5),
            ValueError,
            r"^restart_loss: expected a share in \[0, 1\], got 1.5; percent\?$",
        ),
        (lambda: mtlue.RestartedEM(learning_rate=0), ValueError, r"^learning_rate: expected a number > 0, got 0$"),
        (lambda: mtlue.RestartedEM(focus=-1.0), ValueError, r"^focus: expected a number >= 0, got -1.0$"),
        (
            lambda: mtlue.RestartedEM(distortions=half),  # type: ignore[arg-type]
            TypeError,
            r"^distortions: expected a list of functions on images, got function$",
        ),
        (
            lambda: mtlue.RestartedEM(distortions=["jpeg"]),  # type: ignore[list-item]
            TypeError,
            r"^distortions\[0\]: expected a function on images, got str$",
        ),
        (
            lambda: mtlue.RestartedEM(distortions=[None, half]),
            ValueError,
            r"^distortions: expected at most one for each of 1 networks \(count\), got 2$",
        ),
    ],
)
def test_wrong_settings_are_named(make: Callable[[], Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "kind", "message"),
    [
        (lambda seed: None, TypeError, r"^make: expected it to return a torch.nn.Module, got NoneType$"),
        (lambda seed: nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), ValueError, r"^make\(\) output"),
    ],
)
def test_wrong_networks_are_named(make: Any, kind: type[Exception], message: str) -> None:
    images, clean, targets = batch()
    wide = mtlue.Surrogate(Net(), {"shape": 3})
    with pytest.raises(kind, match=message):
        mtlue.RestartedEM(make)(wide, images, {"shape": targets["shape"]}, clean)


def test_a_distortion_without_a_gradient_is_no_way_to_the_images(script: ModuleType) -> None:
    loss = mtlue.RestartedEM(distortions=[defenses.jpeg])
    with pytest.raises(ValueError, match=r"^surrogate: no gradient reaches the images"):
        script.fit("", None, loss=loss, epochs=1)
