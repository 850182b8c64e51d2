"""Does a protection work, against whom, and what breaks it?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mtlue._checks import check_epsilon, check_image_size
from mtlue._data import JointTransform, Samples, Transform, check_map_style
from mtlue._fit.schedule import Schedule, paper_schedule
from mtlue._losses import Surrogate
from mtlue._protect import ProtectedDataset
from mtlue._runtime.progress import Progress, ProgressOption, check_progress
from mtlue._runtime.warn import warn
from mtlue._tasks import Task, Tasks
from mtlue.baselines import random_noise
from mtlue.defenses._defense import Defense, as_defense
from mtlue.evaluation._audit_arguments import check_seeds, inspect_set, names_of, tasks_alone, tasks_of
from mtlue.evaluation._best_epoch import best_epoch
from mtlue.evaluation._chance import measure_chance
from mtlue.evaluation._evaluate import evaluate
from mtlue.evaluation._measurement import CLEAN, NO_DEFENSE, NOISE, PROTECTED, Measurement
from mtlue.evaluation._metrics import unregistered
from mtlue.evaluation._noise_budget import noise_budget
from mtlue.evaluation._rehearsal import rehearse, rehearse_transform
from mtlue.evaluation._report import Report
from mtlue.evaluation._select_tasks import SelectedTasks
from mtlue.evaluation._trainings import plan_trainings, reached
from mtlue.evaluation._victim import Model, check_one_size, make_model, train_victim
from mtlue.evaluation._weighting import Weighting

_DEFAULT_EPSILON = 8 / 255

logger = logging.getLogger("mtlue.evaluation")


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

    Example:
        >>> import torch
        >>> from mtlue import baselines, defenses, evaluation
        >>> halves = torch.eye(2).repeat_interleave(32, dim=1).reshape(2, 1, 8, 8)
        >>> clean = [(halves[index % 2], {"brighter_half": index % 2}) for index in range(16)]
        >>> test = [(0.9 * halves[index % 2], {"brighter_half": index % 2}) for index in range(8)]
        >>> noisy = baselines.random_noise(clean)  # looks like a protection, and is none
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> training = {"epochs": 5, "learning_rate": 0.01, "batch_size": 8, "progress": False}
        >>> training |= {"model": net, "defenses": [defenses.grayscale]}
        >>> report = evaluation.audit(noisy, clean, test, **training)
        >>> report.residual_learnability
        {'brighter_half': 1.0}
        >>> [(row.defense, sorted(row.values)) for row in report.rows()]
        [('none', ['clean', 'protected', 'random noise']), ('grayscale', ['clean', 'protected'])]
    """
    for each in (protected, clean, test):
        check_map_style(each)
    check_progress(progress)
    if isinstance(clean, ProtectedDataset):
        raise ValueError("clean: expected samples without protection, got a protected set; the order is protected, clean, test")
    if len(protected) != len(clean):  # type: ignore[arg-type]  # both have a length, this was checked
        raise ValueError(f"clean: expected the {len(protected)} samples of the protected set, got {len(clean)}")  # type: ignore[arg-type]
    check_seeds(seeds)
    resolved = tasks_of(protected, tasks)
    alone = tasks_alone(single_task, resolved)
    size = check_image_size(image_size)
    # Before anything is trained.
    inspection, held_out = inspect_set("clean", clean, resolved, num_workers), inspect_set("test", test, resolved, num_workers)
    if held_out.channels != inspection.channels:
        raise ValueError(
            f"test: expected images of {inspection.channels} channels as in the clean set, got {held_out.channels}"
        )
    for inspected in (inspection, held_out):
        check_one_size(inspected, size)
    for sentence in unregistered(resolved):
        warn(sentence)
    epsilon = check_epsilon(getattr(protected, "epsilon", _DEFAULT_EPSILON))
    control = noise_budget(protected, clean, epsilon)
    if isinstance(defenses, str) or not isinstance(defenses, Sequence):
        raise TypeError(f"defenses: expected a list of defences, got {defenses!r}")
    defended = [as_defense(each) for each in defenses]
    names = names_of(defended)
    for defense in defended:
        defense.check_tasks(resolved)
        shape = (inspection.channels, *(size or inspection.typical_size))
        rehearse(defense, make_model(model, resolved, image_shape=shape, seed=0), Samples(protected, resolved), image_size=size)
    _rehearse_transform(transform, protected, resolved, alone, size)
    chance = measure_chance(test, resolved, image_size=size, num_workers=num_workers)
    plan = plan_trainings(resolved, alone, defended, seeds)
    measurements: list[Measurement] = []
    noise: dict[int, Dataset[Any]] = {}
    with Progress(progress, stage="audit", total=len(plan)) as shown:
        for number, training in enumerate(plan, start=1):
            what = training.description(resolved)
            shown.announce(what)
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
            logger.info("audit: victim %d of %d, %s: %s", number, len(plan), what, reached(found[-1], chosen))
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
