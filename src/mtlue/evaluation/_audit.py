"""Measure whether a set is protected, against which victims, and what breaks the protection."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mtlue._data import Transform
from mtlue._fit import Schedule
from mtlue._runtime import (
    Compute,
    Progress,
    ProgressOption,
    apart,
    current_job,
    gradients_on,
    is_main,
    sole_owner,
    together,
    warn,
)
from mtlue._tasks import Tasks
from mtlue.defenses import Defense
from mtlue.evaluation._audited import Audited, check_seeds, named_defenses, tasks_alone
from mtlue.evaluation._chance import measure_chance
from mtlue.evaluation._controls import Controls, settings_of
from mtlue.evaluation._examples import find_examples
from mtlue.evaluation._measurement import CLEAN, NOISE, PROTECTED, Measurement
from mtlue.evaluation._metrics import unregistered
from mtlue.evaluation._records import Records, check_folder
from mtlue.evaluation._report import Report
from mtlue.evaluation._shared_victims import PATIENCE, known_victims, own_victims, victims_of_all
from mtlue.evaluation._trainings import Training, plan_trainings, reached, run_training
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
    """Train victims on clean images, on random noise and on protected images, and compare what they learn.

    Random noise is the control. If a victim cannot learn from noisy images either, its failure on protected images says
    nothing. The noise has the budget epsilon of the protected set. Some sets are bounded in the l2 norm: most of their pixels
    change far less than epsilon. There the noise has the mean size of the changes, and `Report.settings` names it
    ``noise_epsilon``.

    Multi-task victims learn all tasks at once, single-task victims learn one task each. A defended victim is trained on clean
    and on protected images. Every victim is measured on clean test images after each epoch, as `evaluate` does it, and so is
    the best answer that ignores the image (`Report.chance`).

    Called on all ranks of a process group, each trains a part of the victims, and every rank gets the whole report. It equals
    that of one process. ``checkpoint`` is then a folder that all ranks share.

    Args:
        protected: The protected set, as `mtlue.protect` or a baseline returns it.
        clean: The same samples without protection.
        test: Clean samples that no victim is trained on.
        tasks: Tasks by name. By default the tasks of ``protected``.
        model: As in `train_victim`. Single-task victims need a model that can be made for one task, or one that answers by name
            so that its other answers can be ignored.
        single_task: Names of the tasks that get a single-task victim too: all tasks if None, no task if empty.
        defenses: Defences to try. A multi-task victim is trained with each of them.
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
        seeds: Seeds of the trainings and of the noise. Every victim is trained once with each.
        controls: A report on another protection of the same images, made with the same settings. Its victims on clean images
            and on random noise are reused instead of trained again, so ten methods share one set of controls. The figures equal
            those of a new training.
        checkpoint: Folder for the results of finished victims, and for the state of the victim in training after each epoch.
            The folder stays when the audit is done. Repeat an interrupted audit with the same folder to resume it: the report
            equals that of an uninterrupted audit. You can add ``seeds``, ``single_task`` or ``defenses`` to a finished audit,
            and only the new victims are trained. Victims of other sets, of other arguments, or of a model with other initial
            weights are refused.
        progress: As in `mtlue.fit`. A step is a victim.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, the sets differ in length, the tasks are neither given nor found, a defence or
            the transform does not work on these sets, or ``controls`` or ``checkpoint`` belong to other settings or sets.
        NotADirectoryError: ``checkpoint`` is a file.
        FileNotFoundError: the parent folder of ``checkpoint`` does not exist.
        BlockingIOError: another call is writing to ``checkpoint``.
        RuntimeError: another rank of the process group did not come or has failed.

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
    main = is_main()
    if not main:
        compute = replace(compute, progress=False)
    with (
        together(compute.device, patience=PATIENCE),
        sole_owner(folder if main else None, argument="checkpoint"),
        gradients_on(),
    ):
        audited = Audited.checked(protected, clean, test, tasks=tasks, image_size=plan.image_size, num_workers=num_workers)
        with apart():
            alone = tasks_alone(single_task, audited.tasks)
            for sentence in unregistered(audited.tasks):
                warn(sentence)
            chance = measure_chance(audited.samples(test, audited.tasks), compute)
            examples = find_examples(clean, protected)
            audited.rehearse(plan, compute, defended.values(), alone)
            settings = settings_of(plan, compute, audited, defended, seeds)
            known = Controls.checked(controls, audited, settings)
            records = Records.opened(folder, plan, compute, audited, defended)
            trainings = plan_trainings(audited.tasks, alone, defended, seeds)
        job = current_job()
        if job is not None:
            job.agree({**settings, "victims": list(map(str, trainings))})
        # Read all of them before training anything: one may be refused.
        found = known_victims(trainings, lambda training: known.of(training) or records.of(training))
        own = own_victims([training for training in trainings if not found[training]])
        trainer = _Trainer(audited, plan, compute, defended, chance, records)

        def tell(training: Training) -> None:
            told = reached(found[training], audited.tasks)
            logger.info("audit: victim %d of %d, %s: %s", trainings.index(training) + 1, len(trainings), training, told)

        with Progress(compute.progress, stage="audit", total=len(trainings)) as shown:
            shown.skip(sum(map(bool, found.values())))
            for training in trainings:
                if training in own:
                    shown.announce(str(training))
                    with apart():
                        found[training] = trainer.train(training)
                    shown.step(1)
                if found[training]:
                    tell(training)
            elsewhere = [training for training in trainings if not found[training]]
            found = victims_of_all(found)
            for training in elsewhere:
                shown.step(1)
                tell(training)
    measurements = [each for several in found.values() for each in several]
    return Report(audited.tasks, audited.epsilon, measurements, settings, chance, examples)


@dataclass(frozen=True)
class _Trainer:
    """Trains one victim after the other, and keeps what they have reached."""

    audited: Audited
    plan: VictimPlan
    compute: Compute
    defenses: Mapping[str, Defense]
    chance: Mapping[str, float]
    records: Records
    noise: dict[int, Dataset[Any]] = field(default_factory=dict)

    def train(self, training: Training) -> list[Measurement]:
        own = replace(self.plan, defense=self.defenses.get(training.defense, Defense()))
        computed = replace(self.compute, seed=training.seed)
        unfinished = self.records.unfinished(training)
        found = run_training(training, self._set_of(training), self.audited, own, computed, self.chance, unfinished)
        self.records.keep(training, found)
        return found

    def _set_of(self, training: Training) -> Dataset[Any]:
        if training.data == NOISE:
            if training.seed not in self.noise:
                # One at a time: it may be large.
                self.noise.clear()
                self.noise[training.seed] = self.audited.noise(training.seed)
            return self.noise[training.seed]
        return {CLEAN: self.audited.clean, PROTECTED: self.audited.protected}[training.data]
