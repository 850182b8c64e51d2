"""bfloat16 on a processor: what is asked of it, and what is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mtlue import evaluation
from mtlue._runtime.bfloat16 import products_can_crash
from mtlue._runtime.device import autocast, choose_precision

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
def test_releases_whose_products_crash_with_amx(
    monkeypatch: pytest.MonkeyPatch, release: str, amx: bool, crashes: bool
) -> None:
    pretend(monkeypatch, release, amx)
    assert products_can_crash() is crashes
    for device in (CPU, torch.device("cuda")):
        assert choose_precision(torch.bfloat16, device) is torch.bfloat16
    assert choose_precision(None, CPU) is torch.float32


def test_a_processor_that_cannot_be_asked_may_have_amx(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "2.14.1", False)
    assert not products_can_crash()
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported")
    assert products_can_crash()


class Seen(TorchDispatchMode):
    """Remembers what was computed in bfloat16, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        if any(each.dtype == torch.bfloat16 for each in tensors):
            self.names.add(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


PRODUCTS = {"mm", "bmm", "mv", "dot", "vdot", "addmm", "baddbmm", "addbmm", "addmv", "mkldnn_linear"}


@pytest.mark.parametrize(
    "compute",
    [
        nn.Linear(6, 3),
        lambda x: x @ x.mT,
        lambda x: torch.matmul(x, torch.ones(6)),
        lambda x: torch.einsum("bij,bkj->bik", [x, x]),
        lambda x: torch.tensordot(x, x, dims=([2], [2])),
        lambda x: torch.baddbmm(x @ x.mT, x, x.mT),
        lambda x: torch.addmm(torch.ones(4, 4), x[0], x[0].T),
        lambda x: torch.inner(x, x),
        lambda x: torch.linalg.multi_dot([x[0], x[1].T, x[2]]),
        lambda x: torch.linalg.vecdot(x, x),
        lambda x: nn.Bilinear(6, 6, 2)(x, x),
        lambda x: nn.LSTM(6, 5)(x)[0],
        lambda x: nn.GRUCell(6, 5)(x[0]),
        lambda x: nn.MultiheadAttention(6, 2)(x, x, x)[0],
        lambda x: F.scaled_dot_product_attention(x, x, x),
        nn.TransformerEncoderLayer(6, 2, 8),
        lambda x: evaluation.build_model("vit_b_16", {"shoe": 2}, image_shape=(3, 32, 32))(x.new_ones(2, 3, 32, 32))["shoe"],
    ],
)
def test_products_are_in_float32_where_they_can_crash(
    monkeypatch: pytest.MonkeyPatch, compute: Callable[[Tensor], Tensor]
) -> None:
    pretend(monkeypatch, "2.14.1", amx=True)
    # As a convolution leaves them.
    images = torch.randn(3, 4, 6, dtype=torch.bfloat16, requires_grad=True)
    with Seen() as seen:
        with autocast(CPU, torch.bfloat16):
            answer = compute(images)
        answer.float().square().sum().backward()
    assert not {name for name in seen.names if name in PRODUCTS or "attention" in name or "linear" in name}


KERNEL = torch.ones(4, 2, 3, 3)


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
        (lambda x: F.conv2d(x(9, 9), KERNEL, stride=2), True),
        (lambda x: F.conv2d(x(9, 9), KERNEL, None, [1, 2]), True),
        (lambda x: F.conv2d(x(9, 8), KERNEL, stride=2), False),
        (lambda x: F.conv2d(x(9, 8), KERNEL, None, [2, 1]), True),
        (lambda x: F.conv2d(x(30, 30), KERNEL, stride=3), False),
        (lambda x: F.conv1d(x(3), KERNEL[..., 0]), True),
        (lambda x: F.conv1d(x(2), KERNEL[..., 0], padding=1), False),
        (lambda x: F.conv3d(x(3, 3, 3), KERNEL[..., None]), False),
        (lambda x: F.conv_transpose2d(x(4, 9), KERNEL.transpose(0, 1), None, 2, 1), True),
        (lambda x: F.conv_transpose2d(x(3, 9), KERNEL.transpose(0, 1), None, 2, 1), False),
        (lambda x: F.conv_transpose2d(x(9, 9), KERNEL.transpose(0, 1), None, 2, 1, 1), False),
        (lambda x: F.conv_transpose2d(x(9, 9), KERNEL.transpose(0, 1), None, 3), False),
        (lambda x: F.conv_transpose2d(x(4, 4), KERNEL.transpose(0, 1), None, 1, 2), False),
        (lambda x: F.conv_transpose1d(x(4), KERNEL[..., 0].transpose(0, 1)), True),
        (lambda x: F.linear(x(9, 2), torch.ones(3, 2)), not products_can_crash()),
    ],
)
def test_what_is_computed_in_bfloat16(convolution: Callable[[Callable[..., Tensor]], Tensor], trusted: bool) -> None:
    def make(*size: int) -> Tensor:
        # As a layer before it would answer.
        return torch.ones(1, 2, *size, dtype=torch.bfloat16)

    with autocast(CPU, torch.bfloat16):
        answer = convolution(make)
    assert answer.dtype == (torch.bfloat16 if trusted else torch.float32)
    assert torch.equal(answer.float(), convolution(lambda *size: make(*size).float()))


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
    tasks = {"shoe": 2, "front": 2}
    # Its last maps have one pixel, on which it has strides and kernels of 3.
    model = evaluation.build_model("resnet18", tasks, image_shape=(1, 16, 16), architecture=architecture)
    victim = evaluation.train_victim(
        canvases[:16], tasks=tasks, model=model, epochs=2, batch_size=5, precision=torch.bfloat16, progress=False
    )
    assert all(parameter.isfinite().all() for parameter in victim.parameters())
