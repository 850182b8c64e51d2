"""Test whether a mirror image has the same labels."""

from __future__ import annotations

from collections.abc import Mapping

from mtlue._check.learner import CheckPlan, answers, learn
from mtlue._check.skill import margin_of, skill_of
from mtlue._data import Batch, random_crop
from mtlue._runtime import Compute, Stream
from mtlue._tasks import Task

# A network that has never seen mirror images always loses some skill on them.
_LOST = 0.25


def changed_by_mirroring(
    samples: Batch, test: Batch, tasks: Mapping[str, Task], plan: CheckPlan, compute: Compute
) -> list[str] | None:
    """Return the tasks that a network answers far worse on mirror images, or None if it learned no task.

    Args:
        samples: Samples to learn from, not mirrored.
        test: Other samples, clean.
        tasks: The tasks. Their labels must not be maps.
        plan: The size of the training.
        compute: Where and how to compute.
    """
    network = learn(tasks, samples, plan, compute, transform=random_crop)
    seen = answers(network, samples, test, compute)
    mirrored = answers(network, samples, Batch(test.images.flip(-1), test.targets), compute)
    learned, changed = 0, []
    for name, task in tasks.items():
        skill = skill_of(task, seen[name])
        margin, _ = margin_of(task, seen[name], compute.generator(Stream.MIRRORING))
        if skill >= margin:
            learned += 1
            # Of many tasks, some lose a quarter by luck. Mirroring that changes labels costs all of the skill, or more.
            if skill - skill_of(task, mirrored[name]) >= max(_LOST * skill, margin):
                changed.append(name)
    return changed if learned else None
