"""Compare networks that learn from clean, from noisy and from protected images."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from mtlue._check.check import Check
from mtlue._check.data import CLEAN, NOISE, PROTECTED, CheckData
from mtlue._check.learner import CheckPlan, answers, learn
from mtlue._check.skill import margin_of, skill_of
from mtlue._data import Transform
from mtlue._runtime import Compute, Stream, repeatable_convolutions
from mtlue._tasks import Task

#: The most networks that a check trains: three for all tasks, and two for the task that looks weakest.
NETWORKS = 5


def run_check(
    data: CheckData,
    tasks: Mapping[str, Task],
    protected: Collection[str],
    plan: CheckPlan,
    compute: Compute,
    *,
    transform: Transform | None,
) -> Check:
    """Train small networks on three versions of some images, and test them on other, clean images.

    Args:
        data: The images.
        tasks: The tasks.
        protected: Names of the tasks that should be unlearnable.
        plan: The size of the check.
        compute: Where and how to compute.
        transform: The augmentation through which networks see images.
    """

    def skills(version: str, names: Collection[str]) -> dict[str, float]:
        measured = _measured(data, version, _of(tasks, names), plan, compute, transform)
        return {name: skill for name, (skill, *_) in measured.items()}

    with repeatable_convolutions():
        found = _measured(data, CLEAN, tasks, plan, compute, transform)
        clean = {name: skill for name, (skill, *_) in found.items()}
        told = [name for name, (skill, margin, _) in found.items() if skill >= margin]
        unsure = {name: round(luck / clean[name], 3) for name, (*_, luck) in found.items() if name in told}
        untold = {name: _why(name, clean) for name in tasks if name not in told}

        def shares(version: str, names: Collection[str]) -> dict[str, float]:
            measured = skills(version, names)
            return {name: round(measured[name] / clean[name], 3) for name in names if name in told}

        def alone(name: str) -> float:
            # A network may learn the task better on its own. If it does not, this is luck and must not count as protection.
            reference = max(skills(CLEAN, [name])[name], clean[name])
            return round(skills(PROTECTED, [name])[name] / reference, 3)

        noise = shares(NOISE, list(tasks)) if told else {}
        residual = shares(PROTECTED, list(tasks)) if told else {}
        candidates = [name for name in told if name in protected] if len(tasks) > 1 else []
        # A second one would cost steps of all networks, which tell more.
        weakest = max(candidates, key=residual.__getitem__, default=None)
        single = {} if weakest is None else {weakest: alone(weakest)}
    return Check(
        residual_learnability=residual,
        single_task=single,
        noise=noise,
        clean={name: round(skill, 3) for name, skill in clean.items()},
        luck=unsure,
        untold=untold,
        protected_tasks=list(protected),
        images=(plan.train, plan.test),
    )


def _measured(
    data: CheckData,
    version: str,
    tasks: Mapping[str, Task],
    plan: CheckPlan,
    compute: Compute,
    transform: Transform | None,
) -> dict[str, tuple[float, float, float]]:
    """Return what a network learned of each measurable task: its skill and its margin, as `margin_of` gives it."""
    samples = data.version(version)
    found = answers(learn(tasks, samples, plan, compute, transform=transform), samples, data.test, compute)
    measured = {}
    for name, pairs in found.items():
        random = compute.generator(Stream.CHECK, 4)
        try:
            measured[name] = (skill_of(tasks[name], pairs), *margin_of(tasks[name], pairs, random))
        except (IndexError, RuntimeError, TypeError, ValueError):
            # The outputs of a user's own kind of task may not be comparable with its labels.
            continue
    return measured


def _of(tasks: Mapping[str, Task], names: Collection[str]) -> dict[str, Task]:
    return {name: task for name, task in tasks.items() if name in names}


def _why(name: str, clean: Mapping[str, float]) -> str:
    if name not in clean:
        return "its kind of task has no measure; give it a `skill`"
    return "a small network learns too little of it from clean images"
