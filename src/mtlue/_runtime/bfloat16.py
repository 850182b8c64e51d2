"""bfloat16 on a CPU: where torch gets it wrong, and what is computed in float32 instead.

Three faults of oneDNN, torch's library for CPUs, are known.

*A crash, from torch 2.12 on, with AMX.* A matrix product with a small side, mostly in a backward pass, divides by zero in
``matmul_amx_blocking_params_macro_t::maybe_small_dims_heuristics``, and the process dies of SIGFPE. It was seen in 2.14.1. The
function came with https://github.com/uxlfoundation/oneDNN/pull/4032: 2.12 to 2.15 have it, 2.11 does not. No report of the
crash was found upstream. A static analysis named the divisors (https://github.com/uxlfoundation/oneDNN/pull/4990, closed).
Convolutions have kernels of their own and are not affected.

*Garbage, in 2.5, 2.13, 2.14 and 2.15, also without AMX.* If a part of the kernel meets only padding, a convolution returns
memory that was never written (1e34, NaN), or writes beyond its own ("double free or corruption"). The gradient of the weights
is affected if the kernel or the stride is larger than the map, as at the end of a ResNet-18 on 16x16 images. The output itself
is affected if a stride leaves a map one pixel wide. No report was found upstream.

*Wrong sums, in 2.14.1 with AMX.* A convolution that reads 16 channels in blocks of 4x4 pixels, without overlap, is wrong.

``benchmarks/convolutions.py`` compares what is trusted here with float32, on random shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

#: Major and minor number of the first release that crashes with AMX. No later release is known to be free of it.
_CRASHES_WITH_AMX = (2, 12)
#: What convolutions that change the size of maps have, if bfloat16 is used for them: pixels on each side of the smaller map, at
#: least, and a stride, at most.
_LEAST, _LARGEST_STRIDE = 4, 2

_CONVOLUTIONS = {torch.conv1d, torch.conv2d}
_TRANSPOSED = {torch.conv_transpose1d, torch.conv_transpose2d}
# Gradients in three dimensions may be garbage even in float32.
_NEVER = {torch.conv3d, torch.conv_transpose3d}
#: Names of functions and methods that take matrix products.
_PRODUCTS = {
    "mm", "bmm", "mv", "dot", "vdot", "inner", "matmul", "__matmul__", "__rmatmul__", "linalg_matmul", "linalg_vecdot",
    "linalg_multi_dot", "addmm", "addbmm", "baddbmm", "addmv", "chain_matmul", "tensordot", "einsum", "cov", "corrcoef",
    "linear", "bilinear", "linear_cross_entropy", "conv_tbc", "scaled_dot_product_attention", "multi_head_attention_forward",
    "lstm", "gru", "rnn_tanh", "rnn_relu", "lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell",
}  # fmt: skip


def products_can_crash() -> bool:
    """Return whether a matrix product in bfloat16 may kill the process on this CPU."""
    release = tuple(int(number) for number in torch.__version__.split(".")[:2])
    return release >= _CRASHES_WITH_AMX and has_amx()


def has_amx() -> bool:
    """Return whether this CPU has AMX, or may have it."""
    # A private name, which every release from 2.5 to 2.15 has. Without it, assume the worst.
    ask = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return ask is None or bool(ask())


class TrustedBFloat16(TorchFunctionMode):
    """Computes what bfloat16 may spoil in float32, in this context and on this thread.

    These are some convolutions and, where products can crash, all products of matrices.
    """

    def __init__(self) -> None:
        super().__init__()
        self._spared = _PRODUCTS if products_can_crash() else set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the function, in float32 if necessary."""
        kwargs = kwargs or {}
        if (
            (func in _CONVOLUTIONS and not _is_trusted(*args, **kwargs))
            or (func in _TRANSPOSED and not _is_trusted_transposed(*args, **kwargs))
            or func in _NEVER
            or getattr(func, "__name__", "") in self._spared
        ):
            with torch.autocast("cpu", enabled=False):
                return func(*_in_float32(args), **_in_float32(kwargs))
        return func(*args, **kwargs)


def _is_trusted(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> bool:
    """Return whether a convolution has a kernel no larger than the map, and unit stride or a result of some pixels."""
    kernel, room = _spans(weight, dilation), input.shape[2 - weight.ndim :]
    strides = _each(stride, len(kernel))
    # The least that any padding leaves.
    left = min((pixels - side) // step + 1 for pixels, side, step in zip(room, kernel, strides, strict=True))
    return left >= (1 if max(strides) == 1 else _LEAST) and max(strides) <= _LARGEST_STRIDE


def _is_trusted_transposed(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> bool:
    """Return whether a transposed convolution has maps of some pixels, and a result that its kernel fits into."""
    kernel, room = _spans(weight, dilation), input.shape[2 - weight.ndim :]
    strides, margins = _each(stride, len(kernel)), _each(padding, len(kernel))
    # By how many pixels the result is larger than the kernel.
    left = min((pixels - 1) * step - 2 * margin for pixels, step, margin in zip(room, strides, margins, strict=True))
    # Output padding takes another way, with a product of matrices.
    padded = any(_each(output_padding, len(kernel)))
    return min(room) >= _LEAST and left >= 0 and max(strides) <= _LARGEST_STRIDE and not padded


def _each(value: Any, count: int) -> tuple[int, ...]:
    return (value,) * count if isinstance(value, int) else tuple(value) * (count // len(value))


def _spans(weight: Tensor, dilation: Any) -> list[int]:
    """Return how many pixels a kernel spans on each axis."""
    sides = weight.shape[2:]
    return [step * (side - 1) + 1 for step, side in zip(_each(dilation, len(sides)), sides, strict=True)]


def _in_float32(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_in_float32(each) for each in value] if isinstance(value, list) else tuple(map(_in_float32, value))
    if isinstance(value, dict):
        return {name: _in_float32(each) for name, each in value.items()}
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
