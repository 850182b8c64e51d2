"""Which victims an audit trains."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from mtlue._tasks import Task
from mtlue.defenses._defense import Defense
from mtlue.evaluation._measurement import CLEAN, MULTI, NOISE, PROTECTED, SINGLE
from mtlue.evaluation._metrics import headlines_of


@dataclass(frozen=True)
class Training:
    """One victim that an audit trains."""

    data: str
    names: tuple[str, ...]
    defense: Defense | None
    seed: int

    def victim(self, tasks: Collection[str]) -> str:
        """Which kind of victim it is, where these are all tasks."""
        return MULTI if len(self.names) == len(tasks) else SINGLE

    def description(self, tasks: Collection[str]) -> str:
        """What a bar and log lines call it."""
        alone = "" if self.victim(tasks) == MULTI else f" of {self.names[0]}"
        defense = "" if self.defense is None else f" against {self.defense.name}"
        return f"{self.victim(tasks)}{alone} on {self.data}{defense}, seed {self.seed}"


def plan_trainings(
    tasks: Collection[str], alone: Sequence[str], defenses: Sequence[Defense], seeds: Sequence[int]
) -> list[Training]:
    """All victims of an audit: on each set, for all tasks and for those that have one of their own, and with each defence."""
    plan = []
    for seed in seeds:
        for names in (tuple(tasks), *((name,) for name in alone)):
            plan += [Training(data, names, None, seed) for data in (CLEAN, NOISE, PROTECTED)]
        plan += [Training(data, tuple(tasks), defense, seed) for defense in defenses for data in (CLEAN, PROTECTED)]
    return plan


def reached(found: Mapping[str, Mapping[str, float]], tasks: Mapping[str, Task]) -> str:
    """The headline metric of each task that has one, on one line."""
    return ", ".join(f"{name} {each.name} {found[name][each.metric]:.4g}" for name, each in headlines_of(tasks).items())
