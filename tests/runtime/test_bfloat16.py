"""bfloat16 on a processor: what is asked of it, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlue import evaluation
from mtlue._runtime.bfloat16 import crash_in_bfloat16
from mtlue._runtime.device import autocast, choose_precision
from processor import computes_in_bfloat16

CPU = torch.device("cpu")


def pretend(monkeypatch: pytest.MonkeyPatch, release: str, amx: bool) -> None:
    monkeypatch.setattr(torch, "__version__", release)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx, raising=False)


@pytest.mark.parametrize(
    ("release", "amx", "crashes"),
    [
        ("2.5.0", True, False),
        ("2.11.0+cu130", True, False),
        ("2.12.1", True, True),
        ("2.14.1+cu130", True, True),
        ("2.14.1+cu130", False, False),
        ("2.15.0", True, True),
        ("2.16.0.dev20261101", True, True),
        ("3.0.0a0+git1234567", True, True),
        ("3.0.0", False, False),
    ],
)
def test_releases_that_crash_with_amx_compute_in_float32(
    monkeypatch: pytest.MonkeyPatch, release: str, amx: bool, crashes: bool
) -> None:
    pretend(monkeypatch, release, amx)
    if crashes:
        with pytest.warns(UserWarning, match=r"^precision: torch .* can crash in bfloat16 on a processor with AMX; comp"):
            assert choose_precision(torch.bfloat16, CPU) is torch.float32
    else:
        assert choose_precision(torch.bfloat16, CPU) is torch.bfloat16
    # Of other devices and of float32 nothing is said.
    assert choose_precision(torch.bfloat16, torch.device("cuda")) is torch.bfloat16
    assert choose_precision(torch.float32, CPU) is torch.float32
    assert choose_precision(None, CPU) is torch.float32


def test_a_processor_that_cannot_be_asked_may_have_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "2.14.1", False)
    assert crash_in_bfloat16() is None
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert crash_in_bfloat16() is not None


KERNEL = torch.ones(4, 2, 3, 3)


@computes_in_bfloat16
@pytest.mark.parametrize(
    ("convolution", "trusted"),
    [
        (lambda x: F.conv2d(x(3, 3), KERNEL), True),
        (lambda x: F.conv2d(x(3, 3)[0], KERNEL), True),
        (lambda x: F.conv2d(x(3, 3), KERNEL, None, (1, 1), "same"), True),
        (lambda x: F.conv2d(x(5, 5), KERNEL, dilation=2), True),
        (lambda x: F.conv2d(x(5, 4), KERNEL, padding=2, dilation=2), False),
        (lambda x: F.conv2d(x(5, 4), KERNEL, None, 1, 2, (2, 1)), True),
        (lambda x: F.conv2d(x(2, 9), KERNEL, padding=1), False),
        (lambda x: F.conv2d(x(9, 2), KERNEL, None, 1, (1, 1)), False),
        (lambda x: F.conv2d(x(9, 9), KERNEL, stride=2), False),
        (lambda x: F.conv2d(x(9, 9), KERNEL, None, [1, 2]), False),
        (lambda x: F.conv1d(x(3), KERNEL[..., 0]), True),
        (lambda x: F.conv1d(x(2), KERNEL[..., 0], padding=1), False),
        (lambda x: F.conv3d(x(3, 3, 3), KERNEL[..., None]), True),
        (lambda x: F.conv3d(x(3, 2, 3), KERNEL[..., None], padding=1), False),
        (lambda x: F.conv_transpose2d(x(9, 9), KERNEL.transpose(0, 1)), False),
        (lambda x: F.linear(x(9, 2), torch.ones(3, 2)), True),
    ],
)
def test_convolutions_of_unit_stride_that_fit_into_the_map_are_in_bfloat16(
    convolution: Callable[[Callable[..., Tensor]], Tensor], trusted: bool
) -> None:
    def make(*size: int) -> Tensor:
        # As a layer before it would answer.
        return torch.ones(1, 2, *size, dtype=torch.bfloat16)

    with autocast(CPU, torch.bfloat16):
        answer = convolution(make)
    assert answer.dtype == (torch.bfloat16 if trusted else torch.float32)
    assert torch.equal(answer.float(), convolution(lambda *size: make(*size).float()))


@computes_in_bfloat16
@pytest.mark.parametrize("channels", [(16, 32), (64, 64)])
@pytest.mark.parametrize(
    ("size", "kernel", "stride"),
    [((1, 1), 3, 2), ((1, 1), 5, 3), ((2, 2), 3, 3), ((4, 1), 3, 2), ((4, 1), 7, 2), ((1, 7), 5, 1), ((2, 7), 7, 1)],
)
def test_gradients_on_small_maps_are_near_those_in_float32(
    size: tuple[int, int], kernel: int, stride: int, channels: tuple[int, int]
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(*channels, kernel, stride, kernel // 2)
    images = torch.randn(8, channels[0], *size, requires_grad=True)
    towards = torch.randn_like(layer(images))
    for _ in range(4):
        found = []
        for precision in (torch.float32, torch.bfloat16):
            # What is freed here is what the convolution finds where it forgets to write.
            del [torch.full((1 << 16,), torch.nan) for _ in range(8)][:]
            with autocast(CPU, precision):
                answer = layer(images)
            found.append(torch.autograd.grad((answer.float() * towards).sum(), [*layer.parameters(), images]))
        for exact, rough in zip(*found, strict=True):
            torch.testing.assert_close(rough, exact, atol=0.02 * exact.abs().max().item(), rtol=0)


@pytest.mark.parametrize("architecture", ["hard-sharing", "cross-stitch"])
def test_a_victim_is_trained_in_bfloat16_on_any_processor(canvases: Any, architecture: str) -> None:
    crash = crash_in_bfloat16()
    expected: AbstractContextManager[Any] = pytest.warns(UserWarning, match="^precision: ") if crash else nullcontext()
    tasks = {"shoe": 2, "front": 2}
    # Its last maps have one pixel, on which it has strides and kernels of 3.
    model = evaluation.build_model("resnet18", tasks, image_shape=(1, 16, 16), architecture=architecture)
    with expected:
        victim = evaluation.train_victim(
            canvases[:16], tasks=tasks, model=model, epochs=2, batch_size=5, precision=torch.bfloat16, progress=False
        )
    assert all(parameter.isfinite().all() for parameter in victim.parameters())
