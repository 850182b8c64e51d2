"""Does a protection work, against whom, and what breaks it?"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mtlue._checks import check_count, check_epsilon, check_image_size, check_task_names
from mtlue._data import Inspection, JointTransform, Samples, Transform, check_map_style, inspect_dataset
from mtlue._losses import Surrogate
from mtlue._runtime.progress import Progress, ProgressOption, check_progress
from mtlue._tasks import Task, Tasks, resolve_tasks
from mtlue.baselines import random_noise
from mtlue.defenses._defense import Defense, as_defense
from mtlue.evaluation._best_epoch import best_epoch
from mtlue.evaluation._chance import measure_chance
from mtlue.evaluation._evaluate import evaluate
from mtlue.evaluation._measurement import CLEAN, MULTI, NO_DEFENSE, NOISE, PROTECTED, SINGLE, Measurement
from mtlue.evaluation._metrics import headline
from mtlue.evaluation._noise_budget import noise_budget
from mtlue.evaluation._rehearsal import rehearse, rehearse_transform
from mtlue.evaluation._report import Report
from mtlue.evaluation._select_tasks import SelectedTasks
from mtlue.evaluation._victim import Model, make_model, paper_schedule, train_victim
from mtlue.evaluation._victim_training import Schedule
from mtlue.evaluation._weighting import Weighting

_DEFAULT_EPSILON = 8 / 255


@dataclass(frozen=True)
class _Training:
    """One victim that an audit trains."""

    data: str
    names: tuple[str, ...]
    defense: Defense | None
    seed: int

    def victim(self, tasks: Collection[str]) -> str:
        return MULTI if len(self.names) == len(tasks) else SINGLE


def audit(
    protected: Dataset[Any],
    clean: Dataset[Any],
    test: Dataset[Any],
    *,
    tasks: Tasks | None = None,
    model: Model | None = None,
    single_task: Collection[str] | None = None,
    defenses: Sequence[Defense | Callable[[Tensor], Tensor]] = (),
    weighting: Weighting | None = None,
    transform: Transform | None = None,
    epochs: int = 60,
    batch_size: int | None = None,
    learning_rate: float = 1e-3,
    schedule: Schedule = paper_schedule,
    image_size: tuple[int, int] | None = None,
    device: torch.device | str | None = None,
    precision: torch.dtype | None = None,
    num_workers: int = 0,
    seeds: Sequence[int] = (0,),
    progress: ProgressOption = None,
) -> Report:
    """Train victims on clean images, on random noise of the same budget and on protected images, and compare them.

    The random noise is the control: if a victim cannot learn from that, its failure on protected images says nothing. It has
    the budget epsilon of the protected set, or, where that is a peak which most pixels stay far below, as in sets bounded in
    the l2 norm, the mean size of their changes (`Report.settings` has it as ``noise_epsilon``).
    Multi-task victims learn all tasks at once, single-task victims one each. A defended victim is trained on clean and on
    protected images. Each is measured on clean test images after every epoch, as `evaluate` does. The best answer that ignores
    the image is measured on them too (`Report.chance`).

    Args:
        protected: The protected set, as `mtlue.protect` or a baseline gives it.
        clean: The same samples without protection.
        test: Clean samples that no victim is trained on.
        tasks: Tasks by name; if None those of ``protected``.
        model: As in `train_victim`; one that can be made for one task alone, or one whose other answers are left out.
        single_task: Names of the tasks for which single-task victims are trained too: all if None, none if empty.
        defenses: Each is tried by a multi-task victim.
        weighting: As in `train_victim`, for multi-task victims.
        transform: As in `train_victim`.
        epochs: As in `train_victim`.
        batch_size: As in `train_victim`.
        learning_rate: As in `train_victim`.
        schedule: As in `train_victim`.
        image_size: As in `train_victim`.
        device: As in `train_victim`.
        precision: As in `train_victim`.
        num_workers: As in `train_victim`.
        seeds: Each is used for a training of every victim and for its noise.
        progress: As in `mtlue.fit`; a step is a victim.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, the sets differ in length, the tasks are not given and cannot be found, or a
            defence or the transform cannot be used on them.
    """
    for each in (protected, clean, test):
        check_map_style(each)
    check_progress(progress)
    if len(protected) != len(clean):  # type: ignore[arg-type]  # both have a length, this was checked
        raise ValueError(f"clean: expected the {len(protected)} samples of the protected set, got {len(clean)}")  # type: ignore[arg-type]
    if not seeds:
        raise ValueError("seeds: expected at least one, got none")
    for seed in seeds:
        check_count("seeds", seed, minimum=0)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds: expected each once, got {list(seeds)}")
    resolved = _tasks_of(protected, tasks)
    # Before anything is trained.
    inspection, held_out = _inspect("clean", clean, resolved, num_workers), _inspect("test", test, resolved, num_workers)
    if held_out.channels != inspection.channels:
        raise ValueError(
            f"test: expected images of {inspection.channels} channels as in the clean set, got {held_out.channels}"
        )
    if not any(headline(task) for task in resolved.values()):
        warnings.warn("tasks: none has a metric that R can be made from, the report's table will be empty", stacklevel=2)
    alone = check_task_names("single_task", single_task, resolved) if single_task is None or len(single_task) else []
    alone = alone if len(resolved) > 1 else []
    epsilon = check_epsilon(getattr(protected, "epsilon", _DEFAULT_EPSILON))
    control = noise_budget(protected, clean, epsilon)
    if isinstance(defenses, str) or not isinstance(defenses, Sequence):
        raise TypeError(f"defenses: expected a list of defences, got {defenses!r}")
    defended = [as_defense(each) for each in defenses]
    names = _names(defended)
    size = check_image_size(image_size)
    for defense in defended:
        defense.check_tasks(resolved)
        shape = (inspection.channels, *(size or inspection.typical_size))
        rehearse(defense, make_model(model, resolved, image_shape=shape, seed=0), Samples(protected, resolved), image_size=size)
    _rehearse_transform(transform, protected, resolved, alone, size)
    chance = measure_chance(test, resolved, image_size=size, num_workers=num_workers)
    plan = _plan(resolved, alone, defended, seeds)
    measurements: list[Measurement] = []
    noise: dict[int, Dataset[Any]] = {}
    with Progress(progress, stage="audit", total=len(plan)) as shown:
        for training in plan:
            if training.data == NOISE and training.seed not in noise:
                noise = {training.seed: random_noise(clean, tasks=resolved, epsilon=control, seed=training.seed)}
            data = {CLEAN: clean, NOISE: noise.get(training.seed), PROTECTED: protected}[training.data]
            multi = len(training.names) == len(resolved)
            chosen = {name: resolved[name] for name in training.names}
            found: list[dict[str, dict[str, float]]] = []

            def measure(_: int, module: nn.Module, found: list[Any] = found, chosen: dict[str, Task] = chosen) -> None:
                held_out = SelectedTasks(test, resolved, list(chosen))
                found.append(
                    evaluate(
                        module,
                        held_out,
                        tasks=chosen,
                        image_size=image_size,
                        # What is enough to train on is little to measure with, unless the answers are maps.
                        batch_size=None if all(task.num_embeddings for task in chosen.values()) else batch_size,
                        device=device,
                        precision=precision,
                        num_workers=num_workers,
                    )
                )

            victim = train_victim(
                SelectedTasks(data, resolved, training.names),  # type: ignore[arg-type]  # the noise is there where it is used
                tasks=chosen,
                model=model if multi or not isinstance(model, nn.Module) else _Answering(model, resolved),
                weighting=weighting if multi else None,
                defense=training.defense,
                transform=transform,
                epochs=epochs,
                batch_size=batch_size,
                learning_rate=learning_rate,
                schedule=schedule,
                image_size=image_size,
                after_epoch=measure,
                device=device,
                precision=precision,
                num_workers=num_workers,
                seed=training.seed,
                progress=False,
            )
            # A defence may have changed the model after its last epoch.
            best = best_epoch(found, chosen, chance)
            measure(epochs, victim)
            measurements += [
                Measurement(
                    training.data,
                    training.victim(resolved),
                    NO_DEFENSE if training.defense is None else names[defended.index(training.defense)],
                    name,
                    training.seed,
                    found[-1][name],
                    found[best][name],
                    best + 1,
                )
                for name in chosen
            ]
            shown.step(1, dict)
    settings = {
        "model": model if isinstance(model, str) else ("resnet18" if model is None else _name(model)),
        "weighting": "Uniform()" if weighting is None else repr(weighting),
        "epochs": epochs,
        "batch_size": batch_size,
        "learning_rate": learning_rate,
        "schedule": _name(schedule),
        "transform": "default" if transform is None else _name(transform),
        "image_size": image_size,
        "precision": str(precision) if precision is not None else "default",
        "seeds": list(seeds),
        "noise_epsilon": control,
        "samples": len(clean),  # type: ignore[arg-type]  # it has a length
        "torch": torch.__version__,
    }
    return Report(resolved, epsilon, measurements, settings, chance)


def _plan(tasks: dict[str, Task], alone: Sequence[str], defenses: Sequence[Defense], seeds: Sequence[int]) -> list[_Training]:
    plan = []
    for seed in seeds:
        for names in (tuple(tasks), *((name,) for name in alone)):
            plan += [_Training(data, names, None, seed) for data in (CLEAN, NOISE, PROTECTED)]
        plan += [_Training(data, tuple(tasks), defense, seed) for defense in defenses for data in (CLEAN, PROTECTED)]
    return plan


def _names(defenses: Sequence[Defense]) -> list[str]:
    """What tables call the defences: by name, and those of one name by the calls that make them.

    Raises:
        ValueError: two cannot be told apart.
    """
    short = [each.name for each in defenses]
    names = [repr(each) if short.count(name) > 1 else name for each, name in zip(defenses, short, strict=True)]
    if len(set(names)) < len(names):
        raise ValueError(
            f"defenses: expected each once and with a name of its own, got {names}; functions need different names"
        )
    return names


def _rehearse_transform(
    transform: Transform | None,
    dataset: Dataset[Any],
    tasks: dict[str, Task],
    alone: Sequence[str],
    size: tuple[int, int] | None,
) -> None:
    if isinstance(transform, JointTransform):
        for names in (tuple(tasks), *((name,) for name in alone)):
            chosen = SelectedTasks(dataset, tasks, names)
            rehearse_transform(transform, Samples(chosen, chosen.tasks), image_size=size)


def _inspect(argument: str, dataset: Dataset[Any], tasks: dict[str, Task], num_workers: int) -> Inspection:
    try:
        return inspect_dataset(dataset, tasks, num_workers=num_workers)
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from None


def _tasks_of(protected: Dataset[Any], tasks: Tasks | None) -> dict[str, Task]:
    found = getattr(protected, "tasks", None) if tasks is None else tasks
    if found is None:
        raise ValueError("tasks: the protected set has no attribute of that name, give the tasks by name")
    return resolve_tasks(found)


def _name(model: object) -> str:
    return str(getattr(model, "__name__", type(model).__name__))


class _Answering(nn.Module):
    """A model for several tasks that answers by name, so that some of its answers can be left out."""

    def __init__(self, module: nn.Module, tasks: dict[str, Task]) -> None:
        super().__init__()
        self.module = module
        self._tasks = tasks

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return Surrogate(self.module, self._tasks)(images)
