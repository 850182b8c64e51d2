"""Make segmentation, depth and surface normals unlearnable together.

Protects a folder in the layout of NYUv2 with MTL-UE-TAP, trains a U-Net for all three tasks on the clean and on the protected
images, prints what each learned, and draws the images, the perturbations, and what the two networks answer for rooms that
neither has seen. ``benchmarks/sets/make_rooms.py`` renders such a folder; NYUv2 itself needs a GPU.

    python examples/dense.py --rooms FOLDER
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import mtlue
from mtlue import analysis, datasets, evaluation

METRICS = {"segmentation": ("miou", "pixel_accuracy"), "depth": ("absolute_error",), "normals": ("mean_angle",)}

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
#: bfloat16 on a GPU that has it. ``torch.bfloat16`` takes half the time on some processors too, and is not the same everywhere.
PRECISION: torch.dtype | None = None


class Loaded(Dataset[tuple[Tensor, dict[str, Tensor]]]):
    """A data set read once and kept in memory."""

    def __init__(self, dataset: Dataset[Any], count: int) -> None:
        length = min(count, len(cast("Sized", dataset)))
        self.samples: list[tuple[Tensor, dict[str, Tensor]]] = [dataset[index] for index in range(length)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Tensor, dict[str, Tensor]]:
        return self.samples[index]


def one_cycle(done: float) -> float:
    """Learning rate of the networks: up in the first third of the training, then down to nothing."""
    return min(done / 0.3, 1.0) * min((1.0 - done) / 0.7, 1.0)


def train(data: Dataset[Any], tasks: dict[str, mtlue.Task], *, epochs: int, seed: int) -> nn.Module:
    """A U-Net that learns all tasks."""
    return evaluation.train_victim(
        data,
        tasks=tasks,
        model="unet",
        epochs=epochs,
        batch_size=16,
        learning_rate=3e-3,
        schedule=one_cycle,
        device=DEVICE,
        precision=PRECISION,
        seed=seed,
    )


def protect(
    clean: Loaded, tasks: dict[str, mtlue.Task], *, surrogate_epochs: int, epochs: int, seed: int, surrogates: int = 1
) -> mtlue.ProtectedDataset[Any]:
    """Train a generator against U-Nets that have learned the clean images a little, and protect the set with it."""
    trained = [train(clean, tasks, epochs=surrogate_epochs, seed=seed + 100 * number) for number in range(surrogates)]
    image_shape = cast("tuple[int, int, int]", tuple(clean[0][0].shape))
    generator = mtlue.UEGenerator(tasks, image_shape, width=12)
    mtlue.fit(
        generator,
        clean,
        trained[0],
        # SEP is TAP averaged over whatever models it is given: here others of the same age, not one at several ages.
        loss=mtlue.SEP(trained) if len(trained) > 1 else mtlue.TAP(),
        epochs=epochs,
        batch_size=16,
        learning_rate=3e-3,
        device=DEVICE,
        precision=PRECISION,
        seed=seed,
    )
    return mtlue.protect(clean, generator=generator, check=False, device=DEVICE, precision=PRECISION, seed=seed)


def answers(victim: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """What a victim says of images."""
    with torch.no_grad():
        return cast("dict[str, Tensor]", victim(images.to(DEVICE)))


def table(found: dict[str, dict[str, dict[str, float]]]) -> str:
    """Metrics on clean test images as Markdown, a row for each set that a victim was trained on."""
    names = [(task, metric) for task, metrics in METRICS.items() for metric in metrics]
    lines = [f"| trained on | {' | '.join(f'{task} {metric}' for task, metric in names)} |", f"|---|{'---:|' * len(names)}"]
    for data, metrics in found.items():
        lines.append(f"| {data} | {' | '.join(f'{metrics[task][metric]:.3g}' for task, metric in names)} |")
    return "\n".join(lines)


def draw(
    clean: Loaded, protected: mtlue.ProtectedDataset[Any], test: Loaded, victims: dict[str, nn.Module], folder: Path
) -> None:
    """Images with their perturbations, and the answers of the victims beside the truth."""
    tasks = protected.tasks
    shown: Sequence[int] = range(min(6, len(clean), len(test)))
    analysis.plot_perturbations(clean, {"MTL-UE-TAP": protected}, folder / "perturbations.png", indices=shown)
    images = torch.stack([test[index][0] for index in shown])
    truth = {name: torch.stack([test[index][1][name] for index in shown]) for name in tasks}
    said = {f"trained on\n{name}": answers(victim, images) for name, victim in victims.items()}
    analysis.plot_maps(images, {"truth": truth, **said}, folder / "answers.png", tasks=tasks)


def main() -> None:
    """Run the example from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rooms", type=Path, required=True, help="folder in the layout of NYUv2")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output" / "dense", help="folder for pictures")
    parser.add_argument("--size", type=int, default=48, help="side that images are brought to, in pixels (default: 48)")
    parser.add_argument("--count", type=int, default=1000, help="training images (default: 1000)")
    parser.add_argument("--epochs", type=int, default=20, help="epochs of the generator (default: 20), half as many of victims")
    parser.add_argument("--surrogate-epochs", type=int, default=6, help="epochs of the surrogate (default: 6)")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.monotonic()

    source = datasets.NYUv2(arguments.rooms, split="train", image_size=arguments.size)
    clean = Loaded(source, arguments.count)
    test = Loaded(datasets.NYUv2(arguments.rooms, split="test", image_size=arguments.size), arguments.count)
    print(f"Protecting {len(clean)} images with MTL-UE-TAP at 8/255 ...")
    torch.manual_seed(arguments.seed)
    protected = protect(
        clean, source.tasks, surrogate_epochs=arguments.surrogate_epochs, epochs=arguments.epochs, seed=arguments.seed
    )
    print(f"  {time.monotonic() - started:.0f} s\nTraining victims on the clean and on the protected set ...")
    sets: dict[str, Dataset[Any]] = {"clean images": clean, "protected images": protected}
    epochs = max(arguments.epochs // 2, 1)
    victims = {name: train(data, source.tasks, epochs=epochs, seed=arguments.seed + 1) for name, data in sets.items()}
    found = {name: evaluation.evaluate(victim, test, tasks=source.tasks) for name, victim in victims.items()}
    print(f"  {time.monotonic() - started:.0f} s\n\nOn {len(test)} clean test images:\n\n{table(found)}\n")

    arguments.output.mkdir(parents=True, exist_ok=True)
    draw(clean, protected, test, victims, arguments.output)
    (arguments.output / "figures.json").write_text(json.dumps(found, indent=2))
    print(f"Pictures and figures are in {arguments.output}")


if __name__ == "__main__":
    main()
