"""What `mtlue.protect` leaves of segmentation, depth and surface normals, with nothing set by hand: on Rooms, several seeds.

    python benchmarks/dense_default.py --rooms FOLDER --seeds 0 1 2 3

Victims are the U-Nets of ``examples/dense.py``: of all tasks, of each task alone, and of all tasks after JPEG at quality 10.
Finished victims are in the file of figures and are not trained again, and protected sets are kept in the folder of ``--work``.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

import mtlue
from mtlue import baselines, datasets, defenses, evaluation

# The examples are no package: they are read where they lie.
sys.path.append(str(Path(__file__).parents[1] / "examples"))

from dense import METRICS, Loaded, train

RESULTS = Path(__file__).parent / "results" / "dense-default.json"
CACHE = RESULTS.parents[1] / "cache" / "dense"
VICTIM_EPOCHS = 10
CLEAN, NOISE, PROTECTED = "clean", "random noise", "mtlue.protect"
MULTI, SINGLE, JPEG = "multi-task", "single-task", "JPEG 10"
VICTIMS = (MULTI, SINGLE, JPEG)
#: The figure of each task that the table shows, by its heading.
SHOWN = {
    "mIoU": ("segmentation", "miou"),
    "depth, absolute error": ("depth", "absolute_error"),
    "normals, mean angle": ("normals", "mean_angle"),
}


class Compressed(Dataset[tuple[Tensor, Any]]):
    """A data set after JPEG at quality 10."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[Tensor, Any]:
        image, targets = self.dataset[index]
        return defenses.jpeg(image.unsqueeze(0), quality=10).squeeze(0), targets


def learned(data: Dataset[Any], test: Dataset[Any], tasks: dict[str, mtlue.Task], *, victim: str, seed: int) -> dict[str, Any]:
    """Metrics by task, on clean test images, of the victims that learn from a set."""
    groups = [[name] for name in tasks] if victim == SINGLE else [list(tasks)]
    found: dict[str, Any] = {}
    for names in groups:
        chosen = {name: tasks[name] for name in names}
        model = train(evaluation.SelectedTasks(data, tasks, names), chosen, epochs=VICTIM_EPOCHS, seed=seed + 1000)
        metrics = evaluation.evaluate(model, evaluation.SelectedTasks(test, tasks, names), tasks=chosen)
        found |= {name: {metric: round(metrics[name][metric], 5) for metric in METRICS[name]} for name in names}
    return found


def protected(clean: Dataset[Any], tasks: dict[str, mtlue.Task], path: Path, *, seed: int) -> Dataset[Any]:
    """The set as `mtlue.protect` leaves it, made once, with what its check says in a file beside it."""
    if path.exists():
        return mtlue.ProtectedDataset.load(path, clean)
    made = mtlue.protect(clean, tasks=tasks, path=path, seed=seed)
    assert made.check is not None
    path.with_suffix(".check.json").write_text(made.check.to_json())
    return made


def table(figures: dict[str, Any]) -> str:
    """Figures of clean images, and those of the others divided by them: means over the seeds, the smallest and the largest."""
    runs = figures["runs"]
    lines = [f"| victims | trained on | seeds | {' | '.join(SHOWN)} |", f"|---|---|---:|{'---:|' * len(SHOWN)}"]
    for victim, trained_on in product(VICTIMS, (CLEAN, NOISE, PROTECTED)):
        chosen = [run for run in runs if (run["victim"], run["trained_on"]) == (victim, trained_on)]
        if not chosen:
            continue
        reference = {run["seed"]: run for run in runs if run["trained_on"] == CLEAN and run["victim"] == _compared(victim)}
        cells = []
        for task, metric in SHOWN.values():
            values = [run["metrics"][task][metric] for run in chosen]
            clean = [reference[run["seed"]]["metrics"][task][metric] for run in chosen]
            is_reference = (trained_on, victim) == (CLEAN, _compared(victim))
            cells.append(f"{statistics.fmean(clean):.3g}" if is_reference else _ratios(values, clean))
        lines.append(f"| {victim} | {trained_on} | {len(chosen)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _compared(victim: str) -> str:
    """The victims of clean images that others are compared with."""
    return MULTI if victim == JPEG else victim


def _ratios(values: Sequence[float], clean: Sequence[float]) -> str:
    ratios = [value / reference for value, reference in zip(values, clean, strict=True)]
    return f"{statistics.fmean(ratios):.2f} × ({min(ratios):.2f} to {max(ratios):.2f})"


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", type=Path, required=True, help="folder in the layout of NYUv2")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=VICTIMS)
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--train", type=int, default=1000, help="training images")
    parser.add_argument("--test", type=int, default=400, help="test images")
    parser.add_argument("--work", type=Path, default=CACHE, help="folder for the protected sets")
    parser.add_argument("--json", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)

    source = datasets.NYUv2(arguments.rooms, split="train", image_size=arguments.size)
    tasks = source.tasks
    clean = Loaded(source, arguments.train)
    test = Loaded(datasets.NYUv2(arguments.rooms, split="test", image_size=arguments.size), arguments.test)
    sizes = {"size": arguments.size, "train": len(clean), "test": len(test)}
    runs: list[dict[str, Any]] = json.loads(arguments.json.read_text())["runs"] if arguments.json.is_file() else []
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"

    for seed in arguments.seeds:
        path = arguments.work / "-".join(["protected", *map(str, sizes.values()), str(seed)])
        sets: dict[str, Dataset[Any]] = {
            CLEAN: clean,
            NOISE: baselines.random_noise(clean, tasks=tasks, seed=seed),
            PROTECTED: protected(clean, tasks, path, seed=seed),
        }
        for trained_on, data in sets.items():
            for victim in arguments.victims:
                made = {"trained_on": trained_on, "victim": victim, "seed": seed}
                # Noise is the control for the figures that the others are compared by.
                if any(run | made == run for run in runs) or (trained_on == NOISE and victim != MULTI):
                    continue
                seen = Compressed(data) if victim == JPEG else data
                metrics = learned(seen, test, tasks, victim=victim, seed=seed)
                runs.append({**made, "machine": machine, "torch": torch.__version__, "metrics": metrics})
                arguments.json.write_text(json.dumps({**sizes, "runs": runs}, indent=1) + "\n")
                print(runs[-1], flush=True)


if __name__ == "__main__":
    main()
