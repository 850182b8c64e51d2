"""Protect a multi-task image set at 8/255 with mtlue's defaults, and measure what can still be learned from it.

Prints what victims learn from the clean set, from random noise of the same size and from the protected set, and writes the
report and a picture.
"""

from __future__ import annotations

import argparse
from pathlib import Path

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

    protected = mtlue.protect(clean, tasks=tasks)
    print(protected.check)

    torch.manual_seed(0)
    report = evaluation.audit(
        protected,
        clean,
        test,
        model=SmallResNet(tasks),
        epochs=8,
        batch_size=64,
        learning_rate=3e-3,
        schedule=evaluation.one_cycle,
        transform=random_shift,
    )
    print(report)

    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "report.json").write_text(report.to_json() + "\n")
    analysis.plot_perturbations(clean, protected, arguments.output / "images.png")
    print(f"The report and a picture are in {arguments.output}")


if __name__ == "__main__":
    main()
