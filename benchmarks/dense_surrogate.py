"""How long surrogates of dense tasks should train, and how many there should be: MTL-UE-TAP on Rooms, with several seeds.

The setting is that of ``examples/dense.py``. Several surrogates start from different weights; the loss is the mean of theirs.
Runs that are in the file of figures are not made again.

    python benchmarks/dense_surrogate.py --rooms FOLDER
    python benchmarks/dense_surrogate.py --rooms FOLDER --surrogate-epochs 3 --surrogates 3
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset

from mtlue import baselines, datasets, evaluation

# The examples are no package: they are read where they lie.
sys.path.append(str(Path(__file__).parents[1] / "examples"))

from dense import METRICS, Loaded, protect, train

HERE = Path(__file__).parent
GENERATOR_EPOCHS, VICTIM_EPOCHS = 20, 10


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", type=Path, required=True, help="folder in the layout of NYUv2")
    parser.add_argument("--surrogate-epochs", type=int, nargs="*", default=[3, 5])
    parser.add_argument("--surrogates", type=int, default=1, help="how many, from different weights (default: 1)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--size", type=int, default=48)
    parser.add_argument("--train", type=int, default=1000, help="training images")
    parser.add_argument("--test", type=int, default=400, help="test images")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "dense-surrogate.json")
    arguments = parser.parse_args()

    source = datasets.NYUv2(arguments.rooms, split="train", image_size=arguments.size)
    clean = Loaded(source, arguments.train)
    test = Loaded(datasets.NYUv2(arguments.rooms, split="test", image_size=arguments.size), arguments.test)
    runs: list[dict[str, Any]] = json.loads(arguments.json.read_text())["runs"] if arguments.json.is_file() else []
    known = {(run["trained_on"], run["surrogates"], run["surrogate_epochs"], run["seed"]) for run in runs}
    count = arguments.surrogates
    machine = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{platform.machine()} CPU"

    def measure(trained_on: str, surrogates: int, epochs: int | None, seed: int, data: Dataset[Any]) -> None:
        victim = train(data, source.tasks, epochs=VICTIM_EPOCHS, seed=seed + 1000)
        found = evaluation.evaluate(victim, test, tasks=source.tasks)
        metrics = {task: {name: round(found[task][name], 5) for name in names} for task, names in METRICS.items()}
        made = {"machine": machine, "torch": torch.__version__}
        run = {"trained_on": trained_on, "surrogates": surrogates, "surrogate_epochs": epochs, "seed": seed, **made}
        runs.append({**run, "metrics": metrics})
        content = {"train": len(clean), "test": len(test), "runs": runs}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
        print(runs[-1], flush=True)

    for seed in arguments.seeds:
        if ("clean", 0, None, seed) not in known:
            measure("clean", 0, None, seed, clean)
        if ("random noise", 0, None, seed) not in known:
            measure("random noise", 0, None, seed, baselines.random_noise(clean, tasks=source.tasks, seed=seed))
        for epochs in arguments.surrogate_epochs:
            if ("MTL-UE-TAP", count, epochs, seed) not in known:
                torch.manual_seed(seed)
                settings = {"surrogate_epochs": epochs, "surrogates": count, "epochs": GENERATOR_EPOCHS, "seed": seed}
                measure("MTL-UE-TAP", count, epochs, seed, protect(clean, source.tasks, **settings))


if __name__ == "__main__":
    main()
