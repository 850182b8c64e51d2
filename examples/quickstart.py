"""Protect a multi-task image set, and see what can still be learned from it.

Trains a surrogate on clean canvases, protects them with MTL-UE at 8/255, and trains victims on the clean set, on the set with
random noise of the same size, and on the protected set. Writes a table, a picture and the training curves.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from torch import Tensor
from torch.utils.data import Dataset

import mtlue
from multi_fashion import MultiFashion
from victim import SmallResNet, accuracies, random_shift, train

mpl.use("Agg")
from matplotlib import pyplot  # only after the choice of a backend that needs no screen

EPSILON = 8 / 255
TASKS = MultiFashion.tasks
SETS = ("clean", "random noise", "protected")
VICTIM_EPOCHS, SURROGATE_EPOCHS = 8, 2


class RandomNoise(Dataset[tuple[Tensor, dict[str, int]]]):
    """The control: each pixel moved by +epsilon or -epsilon at random, the same budget without a method."""

    def __init__(self, dataset: MultiFashion, *, seed: int = 0) -> None:
        signs = torch.randint(2, dataset.images.shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        self._images = (dataset.images + round(255 * EPSILON) * signs).clamp(0, 255).byte()
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, int]]:
        return self._images[index], self._dataset[index][1]


def surrogate_and_loss(name: str, clean: MultiFashion, *, seed: int) -> tuple[torch.nn.Module, mtlue.BaseUELoss]:
    """What the generator is trained against: EM trains a new network along the way, TAP and SEP need one that has learned."""
    if name == "em":
        return SmallResNet(TASKS), mtlue.EM()
    # Few epochs on purpose: what a network learns first is what a victim takes first.
    training = train(clean, TASKS, epochs=SURROGATE_EPOCHS, seed=seed, keep=15)
    return training.model, mtlue.TAP() if name == "tap" else mtlue.SEP(training.states)


def protect(clean: MultiFashion, *, loss: str, epochs: int, seed: int) -> tuple[mtlue.ProtectedDataset[Tensor], mtlue.History]:
    """Train a generator, and protect the set with it."""
    surrogate, chosen_loss = surrogate_and_loss(loss, clean, seed=seed)
    generator = mtlue.UEGenerator(TASKS, (1, 32, 32), epsilon=EPSILON, width=16)
    history = mtlue.fit(
        generator,
        clean,
        surrogate,
        loss=chosen_loss,
        epochs=epochs,
        batch_size=64,
        learning_rate=3e-3,
        surrogate_steps=60,
        augment=random_shift,
        seed=seed,
    )
    return mtlue.protect(clean, generator=generator, seed=seed), history


def residual(accuracy: float, clean: float, chance: float) -> float:
    """Residual learnability R: 1 where a victim learns as much as from clean images, 0 where it is at chance."""
    return (accuracy - chance) / (clean - chance)


def learned(name: str, data: Dataset[Any], tasks: dict[str, int], test: MultiFashion, *, seed: int) -> dict[str, float]:
    """Clean test accuracy on each task of a victim that was trained on a set."""
    found = accuracies(train(data, tasks, epochs=VICTIM_EPOCHS, seed=seed).model, test, list(tasks))
    print(f"  {name}: {', '.join(f'{task} {100 * value:.1f}' for task, value in found.items())}", flush=True)
    return found


def measure(sets: dict[str, Dataset[Any]], test: MultiFashion, *, seed: int) -> list[dict[str, Any]]:
    """A row for each task: clean test accuracy of a multi-task and a single-task victim trained on each set."""
    multi = {name: learned(name, data, TASKS, test, seed=seed) for name, data in sets.items()}
    rows = []
    for task, classes in TASKS.items():
        single = {name: learned(name, data, {task: classes}, test, seed=seed)[task] for name, data in sets.items()}
        for victim, found in (("multi-task", {name: multi[name][task] for name in sets}), ("single-task", single)):
            chance = 1 / classes
            row = {"victim": victim, "task": task, "chance": chance, **found}
            row |= {f"R of {name}": residual(found[name], found["clean"], chance) for name in SETS[1:]}
            rows.append(row)
    return sorted(rows, key=lambda row: row["victim"])


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as Markdown: accuracies in percent, R as a share."""
    lines = [
        "| victim | task | chance | clean | random noise | protected | R noise | R protected |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        shares = " | ".join(f"{100 * row[name]:.1f}" for name in ("chance", *SETS))
        lines.append(
            f"| {row['victim']} | {row['task']} | {shares} | {row['R of random noise']:.2f} | {row['R of protected']:.2f} |"
        )
    return "\n".join(lines)


def draw_images(clean: MultiFashion, protected: mtlue.ProtectedDataset[Tensor], path: Path, *, count: int = 6) -> None:
    """Clean images, perturbations scaled to the full range, and protected images, one below the other."""
    figure, axes = pyplot.subplots(3, count, figsize=(1.5 * count, 4.8), layout="constrained")
    for column in range(count):
        before, after = clean[column][0][0] / 255, protected[column][0][0]
        for row, (picture, low, high) in enumerate(
            ((before, 0, 1), (after - before, -EPSILON, EPSILON), (after, 0, 1)),
        ):
            axes[row, column].imshow(picture, cmap="gray", vmin=low, vmax=high)
            axes[row, column].set(xticks=[], yticks=[])
    for row, label in enumerate(("clean", f"perturbation\n(±{255 * EPSILON:.0f}/255)", "protected")):
        axes[row, 0].set_ylabel(label)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def draw_curves(history: mtlue.History, path: Path) -> None:
    """Base loss and regularisers against the epoch."""
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    epochs = range(1, len(history) + 1)
    left.plot(epochs, [epoch.base_loss for epoch in history], marker="o")
    left.set(xlabel="epoch", ylabel="base loss", ylim=(0, None))
    right.plot(epochs, [epoch.intra_er for epoch in history], marker="o", label="intra-ER (equation 4)")
    right.plot(epochs, [epoch.inter_er for epoch in history], marker="o", label="inter-ER (equation 5)")
    right.set(xlabel="epoch", ylabel="mean cosine")
    right.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def main() -> None:
    """Run the example from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output", help="folder for what is written")
    parser.add_argument("--loss", choices=("em", "tap", "sep"), default="tap", help="base loss (default: tap)")
    parser.add_argument("--epochs", type=int, default=12, help="epochs of the generator (default: 12)")
    parser.add_argument("--images", type=int, default=4000, help="training images (default: 4000)")
    parser.add_argument("--contrast", type=float, default=0.4, help="contrast of the canvases, in (0, 1] (default: 0.4)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.monotonic()

    clean = MultiFashion(arguments.images, train=True, contrast=arguments.contrast)
    test = MultiFashion(2000, train=False, seed=1, contrast=arguments.contrast)
    print(f"Protecting {len(clean)} images with MTL-UE-{arguments.loss.upper()} at {255 * EPSILON:.0f}/255 ...")
    torch.manual_seed(arguments.seed)
    protected, history = protect(clean, loss=arguments.loss, epochs=arguments.epochs, seed=arguments.seed)
    largest = max(int((protected[i][0] * 255 - clean[i][0]).abs().max().round()) for i in range(len(clean)))
    print(f"  {time.monotonic() - started:.0f} s; no pixel differs by more than {largest} levels of 255")

    print("Training victims on the clean set, on random noise of the same size, and on the protected set ...")
    rows = measure({"clean": clean, "random noise": RandomNoise(clean), "protected": protected}, test, seed=arguments.seed)
    print(f"  {time.monotonic() - started:.0f} s\n\nAccuracy on clean test images, in percent:\n\n{table(rows)}\n")

    arguments.output.mkdir(parents=True, exist_ok=True)
    draw_images(clean, protected, arguments.output / "images.png")
    draw_curves(history, arguments.output / "curves.png")
    figures = {
        "loss": arguments.loss,
        "epochs": arguments.epochs,
        "contrast": arguments.contrast,
        "seed": arguments.seed,
        "rows": rows,
        "history": history.to_rows(),
    }
    (arguments.output / "figures.json").write_text(json.dumps(figures, indent=2))
    print(f"Pictures and figures are in {arguments.output}")


if __name__ == "__main__":
    main()
