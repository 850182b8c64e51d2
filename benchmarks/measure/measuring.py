"""The stick itself: protect a set by a recipe, train victims, and say what they still learn."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import mtlue
from measure.cells import Cells, name_of
from measure.making import Budget, make
from measure.protect_check import CHECKED, checked
from measure.recipes import Recipe
from measure.sets import HARD, TASKS, Data, read_set
from measure.storing import STORED, stored
from measure.victims import Training, learnability, victim

CLEAN, NOISE = "clean", "random noise"
MULTI, SINGLE, CHECK, ROUNDED = "multi-task", "single-task", "check", "multi-task, rounded"
#: Trainings of victims by the name on the command line: kind of victim, treatment of the images.
VICTIMS = {
    "multi-task": (MULTI, ""),
    "single-task": (SINGLE, ""),
    "jpeg": (MULTI, "JPEG 10"),
    "grey": (MULTI, "grey"),
    "strong": (MULTI, "strong augmentation"),
    "check": (CHECK, ""),
    "rounding": (ROUNDED, ""),
}
_LEVELS = 8


@dataclass(frozen=True)
class Scale:
    """Sizes of everything.

    Attributes:
        size: Height and width of the images.
        count: Images to protect, at most.
        test_count: Images to test on.
        budget: See `Budget.passes`.
        width: Of the generator.
        training: Of victims.
        device: Where to compute.
        processor: Whether it is for a processor; it can then run elsewhere too.
    """

    size: int = 32
    count: int = 4000
    test_count: int = 1600
    budget: int = 32_000
    width: int = 16
    training: Training = field(default_factory=Training)
    device: str = "cpu"
    processor: bool = True

    def changed(self, *, budget: int | None = None, size: int | None = None, device: str | None = None) -> Scale:
        """The same with another budget, size or device, where they are given."""
        return replace(self, budget=budget or self.budget, size=size or self.size, device=device or self.device)


SCALES = {
    "small": Scale(),
    "gpu": Scale(70, 6000, 1600, 600_000, 64, Training(epochs=20, width=64), device="cuda", processor=False),
}


@dataclass(frozen=True)
class Row:
    """What one victim of one recipe learned of one task."""

    set: str
    recipe: str
    seed: int
    victim: str
    treatment: str
    task: str
    clean: float
    noise: float
    protected: float
    cpu_seconds: float = math.nan
    levels: float = math.nan


class _MissingError(LookupError):
    """A cell was not made yet."""


class Stick:
    """Measures recipes, each step only once.

    Args:
        cells: What was measured already.
        scale: Sizes.
        root: Folder of the sets of faces.
        make: Whether what is missing is made; if not, it gives no rows.
    """

    def __init__(self, cells: Cells, scale: Scale, root: Path | None, *, make: bool = True) -> None:
        self.cells, self.scale, self.root, self.make = cells, scale, root, make
        self._sets: dict[str, Data] = {}

    def data(self, name: str) -> Data:
        """A set, read once."""
        if name not in self._sets:
            scale = self.scale
            self._sets[name] = read_set(name, size=scale.size, count=scale.count, test_count=scale.test_count, root=self.root)
        return self._sets[name]

    def measure(self, name: str, recipe_name: str, recipe: Recipe, *, seed: int, victims: tuple[str, ...]) -> list[Row]:
        """R of each task and victim, beside clean images and random noise."""
        made = self.made_from(name, recipe, seed)
        record = self.cells.get(made)
        if record is None and self.make:
            generator, pixels, figures = make(recipe, self.data(name), self._budget(), seed=seed)
            if generator is not None:
                generator.save(self.cells.generator_path(made))
            self.cells.put_images(made, pixels)
            record = self.cells.put(made, figures)
        rows: list[Row] = []
        for wanted in victims if record is not None else ():
            try:
                if wanted == "check":
                    rows += self._checked(name, recipe_name, made, seed=seed)
                elif wanted == "rounding":
                    rows += [row for how in STORED for row in self._rounded(name, recipe_name, made, how, seed=seed)]
                else:
                    rows += self._rows(name, recipe_name, made, *VICTIMS[wanted], seed=seed)
            except _MissingError:
                continue
        return [replace(row, cpu_seconds=record["cpu_seconds"]) for row in rows] if record is not None else []

    def _rows(self, name: str, recipe: str, made: dict[str, Any], kind: str, treatment: str, *, seed: int) -> list[Row]:
        rows, tasks = [], TASKS[name]
        for group in [(task,) for task in _single(tasks)] if kind == SINGLE else [tuple(tasks)]:
            clean = self._accuracies(name, CLEAN, group, treatment)
            # What noise costs hardly depends on the victim: one control a set is enough.
            noise = self._accuracies(name, _noise(made["recipe"].get("levels", _LEVELS)), tuple(tasks), treatment)
            found = self._accuracies(name, made, group, treatment, seed=seed)
            for task in group:
                control, left = (round(learnability(each[task], clean[task], tasks[task]), 3) for each in (noise, found))
                rows.append(Row(name, recipe, seed, kind, treatment, task, clean[task], control, left))
        return rows

    def _checked(self, name: str, recipe: str, made: dict[str, Any], *, seed: int) -> list[Row]:
        """What the check of `mtlue.protect` says of the default's generator, with the budget that it has there."""
        known = {**made, "check": CHECKED}
        record = self.cells.get(known)
        if record is None:
            self._check_making()
            started = time.process_time()
            generator = mtlue.UEGenerator.load(self.cells.generator_path(made), device=self.scale.device)
            found = checked(generator, self.data(name), seed=seed, device=self.scale.device)
            told = {task: {"left": found.strongest(task), "noise": found.noise[task]} for task in found.residual_learnability}
            seconds = round(time.process_time() - started, 1)
            record = self.cells.put(known, {"told": told, "images": list(found.images), "cpu_seconds": seconds})
        told = record["told"]
        return [Row(name, recipe, seed, CHECK, "", task, math.nan, each["noise"], each["left"]) for task, each in told.items()]

    def _rounded(self, name: str, recipe_name: str, made: dict[str, Any], how: str, *, seed: int) -> list[Row]:
        tasks, images = TASKS[name], {**made, "stored": how}
        clean = self._accuracies(name, CLEAN, tuple(tasks), "")
        found = self._accuracies(name, images, tuple(tasks), "", seed=seed)
        record = self.cells.get(images)
        if record is None:
            self._check_making()
            change = self._pixels(self.data(name), images, seed).int() - self.data(name).train.pixels.int()
            record = self.cells.put(images, {"mean_levels": round(change.abs().float().mean().item(), 2)})
        return [
            Row(
                name,
                recipe_name,
                seed,
                ROUNDED,
                how,
                task,
                clean[task],
                math.nan,
                round(learnability(accuracy, clean[task], tasks[task]), 3),
                levels=record["mean_levels"],
            )
            for task, accuracy in found.items()
        ]

    def _accuracies(
        self, name: str, images: str | dict[str, Any], tasks: tuple[str, ...], treatment: str, *, seed: int = 0
    ) -> dict[str, float]:
        training = self.scale.training
        source = images if isinstance(images, str) else name_of(images)
        made = {
            "victim": list(tasks),
            "set": self._set(name),
            "images": source,
            "treatment": treatment,
            "training": asdict(training),
            "seed": seed,
        }
        record = self.cells.get(made)
        if record is None:
            self._check_making()
            started = time.process_time()
            data = self.data(name)
            seen = data.train.with_pixels(self._pixels(data, images, seed))
            found = victim(data, seen, tasks, training, seed=seed, treatment=treatment, device=self.scale.device)
            seconds = round(time.process_time() - started, 1)
            record = self.cells.put(made, {"balanced_accuracy": found, "cpu_seconds": seconds})
        found_before: dict[str, float] = record["balanced_accuracy"]
        return found_before

    def _check_making(self) -> None:
        if not self.make:
            raise _MissingError

    def _pixels(self, data: Data, images: str | dict[str, Any], seed: int) -> Tensor:
        if images == CLEAN:
            return data.train.pixels
        if isinstance(images, str):
            levels = int(images.removeprefix(NOISE) or _LEVELS)
            random = torch.Generator().manual_seed(seed)
            sign = 2 * torch.randint(2, data.train.pixels.shape, generator=random, dtype=torch.int16) - 1
            return (data.train.pixels.to(torch.int16) + levels * sign).clamp(0, 255).to(torch.uint8)
        kept = self.cells.images(images)
        if kept is None and "stored" in images:
            made = {name: value for name, value in images.items() if name != "stored"}
            generator = mtlue.UEGenerator.load(self.cells.generator_path(made), device=self.scale.device)
            kept = stored(generator, data, how=images["stored"])
        if kept is None:
            raise FileNotFoundError(f"--work: {self.cells.folder} has no images of {images}; give the folder they were made in")
        return kept

    def _set(self, name: str) -> dict[str, Any]:
        return {"name": name, "size": self.scale.size, "count": self.scale.count, "test_count": self.scale.test_count}

    def made_from(self, name: str, recipe: Recipe, seed: int) -> dict[str, Any]:
        """What protected images are known by."""
        scale = self.scale
        # The same call leaves other images there.
        elsewhere = {"device": scale.device} if scale.processor and scale.device != "cpu" else {}
        return {
            **elsewhere,
            "set": self._set(name),
            "recipe": recipe.described(),
            "budget": scale.budget,
            "width": scale.width,
            "training": asdict(scale.training),
            "seed": seed,
        }

    def _budget(self) -> Budget:
        scale = self.scale
        return Budget(scale.budget, scale.width, scale.training, scale.device, scale.processor)


def _noise(levels: int) -> str:
    """What images with noise are known by."""
    return NOISE if levels == _LEVELS else f"{NOISE} {levels}"


def _single(tasks: Iterable[str]) -> list[str]:
    """Tasks that get single-task victims: of CelebA's 40, those on which protection is hardest; else all."""
    every = list(tasks)
    return [task for task in HARD if task in every] or every
