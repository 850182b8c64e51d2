"""What helps MTL-UE where one image has fourteen attributes: longer training, a wider generator, other surrogates.

Multi-task victims of the avatars at the small scale of the tables. Cells in the folder of ``paper_tables.py`` are not made
again.

    python benchmarks/many_attributes.py --avatars FOLDER --work FOLDER
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import mtlue
import paper_tables  # finds the examples that the workshop needs
from mtlue.evaluation import residual_learnability
from paper.layout import METRIC
from paper.methods import CLEAN, OURS
from paper.scales import SMALL
from paper.specs import Data, Protection, Victim
from paper.store import Store
from paper.workshop import Workshop, environment

AVATARS = Data("avatars")
CHANCE = 0.5
SEVERAL, RESTARTED = "MTL-UE-TAP of several", "MTL-UE-EM restarted"
RESTART = 100


@dataclass(frozen=True)
class Change:
    """What is done in another way than in table 2.

    Attributes:
        methods: Whom it concerns.
        scale: Changed sizes of everything.
        sizes: Changed sizes of the set.
    """

    methods: tuple[str, ...] = OURS
    scale: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, Any] = field(default_factory=dict)


CHANGES = {
    "as in table 2": Change(),
    f"surrogate trained in every step, a new one every {RESTART}": Change((RESTARTED,)),
    "surrogate 240 steps an epoch, not 60": Change(("MTL-UE-EM",), sizes={"surrogate_steps": 240}),
    "surrogate 8 epochs, not 2": Change(("MTL-UE-TAP",), sizes={"surrogate_epochs": 8}),
    "3 surrogates, not 1": Change((SEVERAL,)),
    "generator of width 16, not 8": Change(("MTL-UE-TAP",), scale={"width": 16}),
    "generator 48 epochs, not 16": Change(("MTL-UE-TAP", RESTARTED), sizes={"generator_epochs": 48}),
}


class SteppedEM(mtlue.BaseUELoss):
    """EM against a surrogate that takes a step with each batch, and starts from new weights every hundred.

    It came before `mtlue.RestartedEM`, and does less: perturbations are seen on their own images alone, and a surrogate is
    replaced by its age alone. Its gradient is that of the surrogate after the step, where the library's is that before it.

    Args:
        make: Makes a surrogate from a seed.
        learning_rate: Adam's.
    """

    trains_surrogate = False

    def __init__(self, make: Callable[[int], nn.Module], *, learning_rate: float) -> None:
        self._make, self._learning_rate = make, learning_rate
        self._steps = 0

    def __call__(self, surrogate: mtlue.Surrogate, images: Tensor, targets: dict[str, Tensor]) -> Tensor:
        """The tasks' mean loss at the true labels, of a surrogate that has just learned from the same batch."""
        if self._steps % RESTART == 0:
            self._module = self._make(self._steps // RESTART).to(images.device)
            self._optimizer = torch.optim.Adam(self._module.parameters(), lr=self._learning_rate)
        self._steps += 1
        own = surrogate.with_module(self._module)
        self._optimizer.zero_grad()
        torch.autograd.backward(own.loss(images.detach(), targets))
        self._optimizer.step()
        return own.loss(images, targets)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--avatars", type=Path, required=True, help="folder of the drawn avatars")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/cache"), help="folder for what is made on the way")
    parser.add_argument("--json", type=Path, default=paper_tables.RESULTS / "many-attributes.json")
    arguments = parser.parse_args()
    store = Store(arguments.work, paper_tables.RESULTS / "small" / "cells.json")
    folders = {AVATARS.name: arguments.avatars}

    clean = _accuracy(Workshop(SMALL, store, folders), CLEAN)
    runs = [{"change": "", "method": CLEAN, "balanced_accuracy": clean}]
    for name, change in CHANGES.items():
        sizes = {**SMALL.sets, AVATARS.name: replace(SMALL.sets[AVATARS.name], **change.sizes)}
        workshop = Workshop(replace(SMALL, sets=sizes, **change.scale), store, folders)
        workshop.losses[SEVERAL] = partial(_several, workshop)
        workshop.losses[RESTARTED] = partial(_restarted, workshop)
        for method in change.methods:
            accuracy = _accuracy(workshop, method)
            left = residual_learnability(accuracy, clean, CHANCE)
            runs.append({"change": name, "method": method, "balanced_accuracy": accuracy, "R": round(left, 3)})
            arguments.json.write_text(json.dumps({**environment(), "runs": runs}, indent=1) + "\n")
            print(runs[-1], flush=True)


def _several(workshop: Workshop) -> mtlue.BaseUELoss:
    """TAP averaged over surrogates that started from different weights."""
    epochs = workshop.scale.sets[AVATARS.name].surrogate_epochs
    return mtlue.SEP([workshop.surrogates(AVATARS, seed, epochs=epochs)[-1] for seed in (0, 100, 200)])


def _restarted(workshop: Workshop) -> mtlue.BaseUELoss:
    tasks = mtlue.Surrogate(nn.Identity(), workshop.splits(AVATARS).train.tasks).tasks
    return SteppedEM(lambda seed: workshop.model(AVATARS, seed=seed)(tasks), learning_rate=workshop.scale.learning_rate)


def _accuracy(workshop: Workshop, method: str) -> float:
    """Mean over the tasks of a multi-task victim's balanced accuracy on clean test images."""
    victim = Victim(Protection(AVATARS, method, seed=0))
    if paper_tables.fill(workshop, [victim], until=float("inf")):
        raise SystemExit(1)
    record = workshop.store.get(workshop.key(victim))
    if record is None:
        raise RuntimeError(f"{victim}: it was made and cannot be found")
    return round(statistics.fmean(each[METRIC] for each in record["metrics"].values()), 5)


if __name__ == "__main__":
    main()
