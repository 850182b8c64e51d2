"""What it costs to inject K embeddings: the factored decoder against the literal concatenation, and against few tasks.

Times whole training steps of a generator (forward, regularisers, backward, Adam) in CelebA's configuration, in turn, so that
a machine whose speed drifts slows all of them alike. The ratio is the result; seconds are this machine's.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import mtlue

SHAPE = (3, 70, 70)


class LiteralGenerator(mtlue.UEGenerator):
    """The same parameters, with [z, e^1, ..., e^K] built and convolved as the paper writes it."""

    def _perturbation(self, images: Tensor, targets: dict[str, Tensor], protected: object) -> Tensor:
        features = torch.cat([self.encoder(images), self.embeddings(targets)], dim=1)
        raw: Tensor = self.decoder.refine(self.decoder.expand(features))
        return self.epsilon * torch.tanh(raw)


def training_step(kind: type[mtlue.UEGenerator], tasks: int, images: Tensor) -> Callable[[], None]:
    """A step of Adam on a generator with so many binary tasks."""
    generator = kind({f"task{k}": 2 for k in range(tasks)}, SHAPE).to(images.device)
    labels = torch.randint(2, (len(images), tasks), device=images.device)
    optimizer = torch.optim.Adam(generator.parameters())

    def step() -> None:
        loss = generator(images, labels).square().mean()
        loss = loss + 20 * mtlue.intra_er(generator.embeddings) + 100 * mtlue.inter_er(generator.embeddings)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        if images.is_cuda:
            torch.cuda.synchronize()

    return step


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    images = torch.rand(arguments.batch_size, *SHAPE, device=arguments.device)
    steps = {
        "factored, K=3": training_step(mtlue.UEGenerator, 3, images),
        "factored, K=40": training_step(mtlue.UEGenerator, 40, images),
        "literal, K=40": training_step(LiteralGenerator, 40, images),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for number in range(arguments.rounds + 1):
        for name, step in steps.items():
            started = time.perf_counter()
            step()
            if number:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratio = statistics.median(a / b for a, b in zip(seconds["literal, K=40"], seconds["factored, K=40"], strict=True))
    growth = statistics.median(a / b for a, b in zip(seconds["factored, K=40"], seconds["factored, K=3"], strict=True))

    for name, median in medians.items():
        print(f"{name:16} {1000 * median / arguments.batch_size:8.1f} ms/image")
    print(f"literal / factored at K=40: {ratio:.2f}")
    print(f"K=40 / K=3, factored: {growth:.2f}")
    if arguments.json:
        figures = {
            "machine": torch.cuda.get_device_name()
            if images.is_cuda
            else f"{platform.machine()}, {torch.get_num_threads()} threads",
            "torch": torch.__version__,
            "batch_size": arguments.batch_size,
            "rounds": arguments.rounds,
            "seconds_a_step": medians,
            "literal_over_factored": ratio,
            "k40_over_k3": growth,
        }
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
