"""Warnings point at the line of the user's that led to them, not into the library."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import mtlue
from mtlue import baselines

QUIET: dict[str, Any] = {"batch_size": 16, "progress": False}
TASKS = {"shoe": 2, "front": 2}


def line_of(call: Callable[[], Any]) -> int:
    return inspect.getsourcelines(call)[1]


class Greedy(mtlue.EM):
    """A loss that has memory for two samples."""

    def __call__(self, surrogate: mtlue.Surrogate, images: torch.Tensor, targets: Any) -> torch.Tensor:
        if len(images) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return super().__call__(surrogate, images, targets)


def test_each_points_at_the_users_call(canvases: Any, make_net: Any, make_generator: Any) -> None:
    poor = make_net()
    nn.init.zeros_(poor[1].weight)
    signed = [(image, {**target, "front": 2 * target["front"] - 1}) for image, target in canvases]
    few = canvases[:4]
    # Each on a line of its own: that of the lambda is that of the call.
    calls: list[tuple[str, Callable[[], Any]]] = [
        ("looks untrained", lambda: mtlue.fit(make_generator(), canvases, poor, loss=mtlue.TAP(), epochs=1, **QUIET)),
        ("looks untrained", lambda: mtlue.protect(canvases, surrogate=poor, loss=mtlue.TAP(), epochs=1, **QUIET)),
        ("looks untrained", lambda: baselines.pgd(canvases, tasks=TASKS, surrogate=poor, loss=mtlue.TAP(), steps=1, **QUIET)),
        ("is trained already", lambda: mtlue.protect(few, generator=make_generator(trained=True), loss=mtlue.EM(), **QUIET)),
        ("less than one level", lambda: mtlue.protect(few, generator=make_generator(trained=True, epsilon=1e-3), **QUIET)),
        ("no pixel changes", lambda: baselines.random_noise(few, epsilon=1e-3)),
        ("only -1 and 1", lambda: mtlue.fit(make_generator(), signed, make_net(), loss=mtlue.EM(), epochs=1, **QUIET)),
        ("out of memory", lambda: mtlue.fit(make_generator(), few, make_net(), loss=Greedy(), epochs=1, **QUIET)),
        ("looks like", lambda: mtlue.UEGenerator(TASKS, (16, 12, 3), width=2)),
    ]
    for words, call in calls:
        with pytest.warns(UserWarning, match=words) as caught:
            call()
        assert [(each.filename, each.lineno) for each in caught] == [(__file__, line_of(call))], words


def test_a_surrogate_that_the_library_has_trained_is_not_called_untrained(canvases: Any) -> None:
    words = (
        r"^surrogate: no better than chance on the clean data, after 1 epochs of training by mtlue; give more epochs, or a surr"
    )
    with pytest.warns(UserWarning, match=words) as caught:
        mtlue.protect(canvases[:9], loss=mtlue.TAP(), epochs=1, batch_size=8, progress=False)
    assert caught[0].filename == __file__


def test_the_library_warns_in_no_other_way() -> None:
    source = Path(mtlue.__file__).parent
    found = [
        path.relative_to(source).as_posix()
        for path in sorted(source.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "warnings.warn"
    ]
    assert found == ["_runtime/warn.py"]
