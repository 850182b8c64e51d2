"""Does a protection work, against whom, and what breaks it?"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mtlue._data import Transform
from mtlue._fit import Schedule
from mtlue._runtime import Compute, Progress, ProgressOption, gradients_on, sole_owner, warn
from mtlue._tasks import Tasks
from mtlue.defenses import Defense
from mtlue.evaluation._audited import Audited, check_seeds, named_defenses, tasks_alone
from mtlue.evaluation._chance import measure_chance
from mtlue.evaluation._controls import Controls, settings_of
from mtlue.evaluation._examples import find_examples
from mtlue.evaluation._measurement import CLEAN, NOISE, PROTECTED
from mtlue.evaluation._metrics import unregistered
from mtlue.evaluation._records import Records, check_folder
from mtlue.evaluation._report import Report
from mtlue.evaluation._trainings import plan_trainings, reached, run_training
from mtlue.evaluation._victim_training import Model, VictimPlan
from mtlue.evaluation._weighting import Uniform, Weighting

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
    epochs: int = VictimPlan.epochs,
    batch_size: int | None = None,
    learning_rate: float = VictimPlan.learning_rate,
    schedule: Schedule = VictimPlan.schedule,
    image_size: tuple[int, int] | None = None,
    device: torch.device | str | None = None,
    precision: torch.dtype | None = None,
    num_workers: int = 0,
    seeds: Sequence[int] = (0,),
    controls: Report | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
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
        controls: A report on another protection of the same images, made with the same settings. Its victims on clean images
            and on random noise are taken over and not trained again, so that ten methods cost one set of controls. The figures
            are those that a training would give.
        checkpoint: Folder that holds what each finished victim has reached, and the state of the one in training after each
            epoch; it is kept at the end. An audit that was interrupted, and is repeated, goes on from there and gives the
            report that an unbroken one would have given. More ``seeds``, ``single_task`` or ``defenses`` add victims to those
            that are there. Victims of other sets, of a model with other initial weights or of other arguments are refused.
        progress: As in `mtlue.fit`; a step is a victim.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, the sets differ in length, the tasks are not given and cannot be found, a
            defence or the transform cannot be used on them, or ``controls`` or ``checkpoint`` were made with different settings
            or sets.
        NotADirectoryError: ``checkpoint`` is a file.
        FileNotFoundError: there is no folder for it.
        BlockingIOError: another call is writing to ``checkpoint``.

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
    plan = VictimPlan(
        model=model,
        weighting=Uniform() if weighting is None else weighting,
        transform=transform,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        image_size=image_size,
    )
    compute = Compute.checked(
        device=device,
        module=model if isinstance(model, nn.Module) else None,
        precision=precision,
        num_workers=num_workers,
        progress=progress,
    )
    check_seeds(seeds)
    defended = named_defenses(defenses)
    folder = check_folder(checkpoint)
    with sole_owner(folder, argument="checkpoint"), gradients_on():
        audited = Audited.checked(protected, clean, test, tasks=tasks, image_size=plan.image_size, num_workers=num_workers)
        alone = tasks_alone(single_task, audited.tasks)
        for sentence in unregistered(audited.tasks):
            warn(sentence)
        chance = measure_chance(audited.samples(test, audited.tasks), compute)
        audited.rehearse(plan, compute, defended.values(), alone)
        settings = settings_of(plan, compute, audited, defended, seeds)
        known = Controls.checked(controls, audited, settings)
        records = Records.opened(folder, plan, compute, audited, defended)
        trainings = plan_trainings(audited.tasks, alone, defended, seeds)
        # All are read before anything is trained: one may be refused.
        found = {training: known.of(training) or records.of(training) for training in trainings}
        noise: dict[int, Dataset[Any]] = {}
        with Progress(progress, stage="audit", total=len(trainings)) as shown:
            shown.skip(sum(map(bool, found.values())))
            for number, training in enumerate(trainings, start=1):
                if not found[training]:
                    shown.announce(str(training))
                    if training.data == NOISE and training.seed not in noise:
                        noise = {training.seed: audited.noise(training.seed)}
                    dataset = {CLEAN: clean, PROTECTED: protected, NOISE: noise.get(training.seed, clean)}[training.data]
                    own = replace(plan, defense=defended.get(training.defense, Defense()))
                    computed = replace(compute, seed=training.seed)
                    unfinished = records.unfinished(training)
                    found[training] = run_training(training, dataset, audited, own, computed, chance, unfinished)
                    records.keep(training, found[training])
                    shown.step(1)
                told = reached(found[training], audited.tasks)
                logger.info("audit: victim %d of %d, %s: %s", number, len(trainings), training, told)
    measurements = [each for several in found.values() for each in several]
    return Report(audited.tasks, audited.epsilon, measurements, settings, chance, find_examples(clean, protected))
