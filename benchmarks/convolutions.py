"""Whether convolutions that mtlue computes in bfloat16 on a CPU agree with float32: random shapes, results and gradients.

    python benchmarks/convolutions.py --cases 10000

Prints each case that disagrees, and how many were computed in bfloat16. A crash ends Python; the last case is then the one in
``--last``. ``ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16`` does without AMX on a processor that has it.
"""

from __future__ import annotations

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue._runtime.device import autocast  # as mtlue computes in bfloat16

CPU = torch.device("cpu")
#: Around the blocks of oneDNN's kernels, and what images and layers have.
CHANNELS = (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 32, 33, 48, 64, 96, 128)
FUNCTIONS: dict[str, tuple[Callable[..., Tensor], ...]] = {
    "convolution": (F.conv1d, F.conv2d),
    "transposed convolution": (F.conv_transpose1d, F.conv_transpose2d),
}
#: As a share of the largest entry.
TOLERANCE = 0.05


def random_case(chance: random.Random) -> dict[str, Any]:
    """Settings of a convolution, mostly of images."""
    axes = chance.choices((1, 2), (1, 9))[0]
    kernel = [chance.choice((1, 2, 3, 3, 4, 5, 7))] * axes
    strides = [chance.choice((1, 1, 2, 2, 3, 4))] * axes
    if chance.random() < 0.2:
        kernel[0], strides[-1] = chance.choice((1, 3, 5)), chance.choice((1, 2))
    transposed = chance.random() < 0.4
    groups = chance.choices((1, 2, 4, 0), (17, 1, 1, 1))[0]
    channels = [chance.choice(CHANNELS) * max(groups, 1) for _ in range(2)]
    return {
        "kind": "transposed convolution" if transposed else "convolution",
        "batch_size": chance.choice((1, 2, 3, 5)),
        # Depthwise.
        "channels": [channels[0]] * 2 if groups == 0 else channels,
        "groups": groups or channels[0],
        "size": [max(side, chance.choice((1, 2, 3, 4, 5, 6, 8, 9, 13, 16, 20))) for side in kernel],
        "kernel": kernel,
        "stride": strides,
        "padding": [chance.choice((0, side // 2, side // 2)) for side in kernel],
        "dilation": [2 if chance.random() < 0.1 else 1] * axes,
        "channels_last": axes == 2 and chance.random() < 0.5,
        "bias": chance.random() < 0.5,
    }


def disagreements(case: dict[str, Any]) -> tuple[torch.dtype, list[str]] | None:
    """The dtype that mtlue computes a case in, and what then differs from float32. None if there is no such convolution."""
    before, after = case["channels"]
    transposed, axes = case["kind"] == "transposed convolution", len(case["kernel"])
    own = (before, after // case["groups"]) if transposed else (after, before // case["groups"])
    tensors = [torch.randn(case["batch_size"], before, *case["size"]), torch.randn(*own, *case["kernel"])]
    if case["channels_last"]:
        tensors = [each.to(memory_format=torch.channels_last) for each in tensors]
    # Both precisions begin with the same numbers.
    tensors = [each.bfloat16().float().requires_grad_() for each in tensors]
    bias = torch.randn(after) if case["bias"] else None
    settings = {name: tuple(case[name]) for name in ("stride", "padding", "dilation")}
    found, towards, dtype = [], None, torch.float32
    for precision in (torch.float32, torch.bfloat16):
        # What is freed here is what a convolution finds where it forgets to write.
        del [torch.full((1 << 16,), torch.nan) for _ in range(4)][:]
        try:
            with autocast(CPU, precision):
                answer = FUNCTIONS[case["kind"]][axes - 1](*tensors, bias, groups=case["groups"], **settings)
        except RuntimeError as error:
            if "size" not in str(error):
                raise
            return None
        towards = torch.randn_like(answer) if towards is None else towards
        dtype = answer.dtype
        found.append((answer.detach().float(), *torch.autograd.grad((answer.float() * towards).sum(), tensors)))
    names = ("result", "gradient of the images", "gradient of the weights")
    return dtype, [
        name
        for name, exact, rough in zip(names, *found, strict=True)
        # torch computes a few wrongly in float32 too.
        if dtype == torch.bfloat16
        # NaN is not smaller.
        and not (rough - exact).abs().max() < TOLERANCE * exact.abs().max()
    ]


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--last", type=Path, default=Path(tempfile.gettempdir()) / "mtlue-convolution.txt")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    chance = random.Random(arguments.seed)
    counts: Counter[str] = Counter()
    for _ in range(arguments.cases):
        case = random_case(chance)
        arguments.last.write_text(f"{case}\n")
        found = disagreements(case)
        if found is None:
            continue
        dtype, wrong = found
        counts[f"{case['kind']}, {str(dtype).removeprefix('torch.')}"] += 1
        if wrong:
            counts["wrong"] += 1
            print(f"{', '.join(wrong)}: {case}", flush=True)
    print(", ".join(f"{name}: {count}" for name, count in sorted(counts.items())))
    if counts["wrong"]:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
