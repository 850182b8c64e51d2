"""Protect a multi-task image set with MTL-UE-TAP at 8/255, and measure what can still be learned from it.

Prints what victims learn from the clean set, from random noise of the same size and from the protected set, and writes the
report and two pictures.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch

import mtlue
from mtlue import analysis, evaluation
from multi_fashion import MultiFashion
from small_resnet import SmallResNet, random_shift


def main() -> None:
    """Run the example from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=4000, help="training images (default: 4000)")
    parser.add_argument("--contrast", type=float, default=0.4, help="contrast of the canvases, in (0, 1] (default: 0.4)")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="folder for what is written")
    arguments = parser.parse_args()

    clean = MultiFashion(arguments.images, train=True, contrast=arguments.contrast)
    test = MultiFashion(2000, train=False, seed=1, contrast=arguments.contrast)
    tasks = MultiFashion.tasks  # {"left": 10, "right": 10, "front": 2}
    torch.manual_seed(0)

    # Few epochs on purpose: what a network learns first is what a victim takes first.
    training: dict[str, Any] = {
        "batch_size": 64,
        "learning_rate": 3e-3,
        "schedule": evaluation.one_cycle,
        "transform": random_shift,
    }
    surrogate = evaluation.train_victim(clean, tasks=tasks, model=SmallResNet(tasks), epochs=2, **training)

    generator = mtlue.UEGenerator(tasks, (1, 32, 32), epsilon=8 / 255, width=16)
    fitting: dict[str, Any] = {"batch_size": 64, "learning_rate": 3e-3, "augment": random_shift}
    history = mtlue.fit(generator, clean, surrogate, loss=mtlue.TAP(), epochs=12, **fitting)
    protected = mtlue.protect(clean, generator=generator)
    print(protected.check)

    report = evaluation.audit(protected, clean, test, model=SmallResNet(tasks), epochs=8, **training)
    print(report)

    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "report.json").write_text(report.to_json() + "\n")
    analysis.plot_perturbations(clean, protected, arguments.output / "images.png")
    analysis.plot_history(history, arguments.output / "curves.png")
    print(f"The report and pictures are in {arguments.output}")


if __name__ == "__main__":
    main()
