"""Which bound trains better: generators that differ in nothing but the bound, same steps, same seeds.

Draws the base loss of each epoch. The set is the quickstart's.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import matplotlib as mpl
import torch

import mtlue
from mtlue import evaluation

# The examples are no package: they are read where they lie.
sys.path.append(str(Path(__file__).parents[1] / "examples"))

from multi_fashion import MultiFashion
from paper.backbones import NarrowResNet
from paper.shift import random_shift
from paper.workshop import one_cycle

mpl.use("Agg")
from matplotlib import pyplot

HERE = Path(__file__).parent
TASKS, SHAPE = MultiFashion.tasks, (1, 32, 32)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--learning-rates", type=float, nargs="+", default=[1e-3, 3e-3])
    parser.add_argument("--json", type=Path, default=HERE / "results" / "bound.json")
    parser.add_argument("--figure", type=Path, default=HERE.parent / "docs" / "_static" / "bound.png")
    arguments = parser.parse_args()

    clean = MultiFashion(4000, train=True)
    runs = []
    for seed in arguments.seeds:
        torch.manual_seed(seed)
        network = evaluation.build_model(NarrowResNet(channels=1), TASKS, image_shape=SHAPE, seed=seed)
        surrogate = evaluation.train_victim(
            clean,
            tasks=TASKS,
            model=network,
            epochs=2,
            batch_size=64,
            learning_rate=3e-3,
            schedule=one_cycle,
            transform=random_shift,
            seed=seed,
        )
        for learning_rate in arguments.learning_rates:
            for bound in ("tanh", "clip"):
                torch.manual_seed(seed)
                generator = mtlue.UEGenerator(TASKS, SHAPE, width=16, bound=bound)
                history = mtlue.fit(
                    generator,
                    clean,
                    surrogate,
                    loss=mtlue.TAP(),
                    epochs=arguments.epochs,
                    batch_size=64,
                    learning_rate=learning_rate,
                    augment=random_shift,
                    seed=seed,
                )
                curve = [epoch.base_loss for epoch in history]
                runs.append({"bound": bound, "learning_rate": learning_rate, "seed": seed, "base_loss": curve})
                print(f"seed {seed}, learning rate {learning_rate:g}, {bound}: base loss {curve[0]:.3f} to {curve[-1]:.3f}")

    figure, panels = pyplot.subplots(
        1, len(arguments.learning_rates), figsize=(9, 3.4), layout="constrained", sharey=True, squeeze=False
    )
    for panel, learning_rate in zip(panels[0], arguments.learning_rates, strict=True):
        for run in runs:
            if run["learning_rate"] == learning_rate:
                first = run["seed"] == arguments.seeds[0]
                panel.plot(
                    range(1, arguments.epochs + 1),
                    run["base_loss"],
                    color="tab:blue" if run["bound"] == "tanh" else "tab:orange",
                    linestyle="-" if first else "--",
                    label=run["bound"] if first else None,
                )
        panel.set(title=f"Adam {learning_rate:g}", xlabel="epoch", ylabel="base loss (TAP)")
        panel.legend()
    figure.savefig(arguments.figure, dpi=120)
    arguments.json.write_text(json.dumps({"torch": torch.__version__, "runs": runs}, indent=2) + "\n")


if __name__ == "__main__":
    main()
