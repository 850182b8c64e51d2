"""Early stopping."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtlue._losses import Surrogate, borrowed
from mtlue._runtime import choose_device
from mtlue._tasks import Task, Tasks
from mtlue.defenses._clean_set import CleanSet
from mtlue.defenses._defense import Defense


class EarlyStopping(Defense):
    """Keep the model of the epoch that does best on clean images.

    A model may learn something about the images before it finds the protection's shortcut. After each epoch it is measured on
    clean images, which its owner is assumed to have, by the mean of `mtlue.Task.skill` over the tasks. At the end the weights
    of the best epoch are restored. All epochs are run, so that the best one is known. Skill is 0 at chance and 1 for a perfect
    answer, for every kind of task, so shares and errors can be averaged. Label maps are measured batch by batch, other labels
    over the whole set.

    Args:
        validation: Clean data set, map-style, in any form that `mtlue.protect` takes.
        tasks: Its tasks, in the order of its targets. By default its own ``tasks`` if it has them, else the model's.
        batch_size: Images in a batch.
        image_size: Height and width to resize images to, as in the training; None if all have one size.

    Attributes:
        skills: The mean skill after each epoch; 0 is chance, 1 is perfect.
        best_epoch: The epoch that was kept, counted from 0; the first of equals. None before any.

    Raises:
        TypeError: ``validation`` has no length, or cannot be indexed, or an argument has the wrong type.
        ValueError: ``validation`` is empty, or an argument is out of range.

    Example:
        >>> import torch, mtlue
        >>> from mtlue.defenses import EarlyStopping
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(1, 1, bias=False))
        >>> victim = mtlue.Surrogate(net, {"bright": 2})
        >>> stopping = EarlyStopping([(torch.full((1, 1, 1), index / 3), index // 2) for index in range(4)])
        >>> for epoch, weight in enumerate([-1.0, 1.0, -2.0]):
        ...     torch.nn.init.constant_(net[1].weight, weight) and stopping.after_epoch(victim, epoch)
        >>> stopping.finish(victim)
        >>> stopping.best_epoch, net[1].weight.item()
        (1, 1.0)
    """

    def __init__(
        self,
        validation: Dataset[Any],
        *,
        tasks: Tasks | None = None,
        batch_size: int = 128,
        image_size: tuple[int, int] | None = None,
    ) -> None:
        self.validation = CleanSet(validation, tasks=tasks, batch_size=batch_size, image_size=image_size, argument="validation")
        self._forget()

    def _forget(self) -> None:
        self.skills: list[float] = []
        self.best_epoch: int | None = None
        self._best_skill = -math.inf
        self._best_state: dict[str, Any] = {}

    def prepare(self, dataset: Dataset[Any], tasks: Mapping[str, Task], *, seed: int) -> None:
        """Forget an earlier training."""
        self._forget()

    def after_epoch(self, victim: Surrogate, epoch: int) -> None:
        """Measure the model, and keep its state if it is the best so far.

        Raises:
            ValueError: the validation set lacks a task of the model, or has an image that cannot be used.
        """
        skill = mean_skill(victim, self.validation)
        self.skills.append(skill)
        # False for NaN too.
        if skill > self._best_skill:
            self.best_epoch, self._best_skill = epoch, skill
            self._best_state = copy.deepcopy(victim.module.state_dict())

    def finish(self, victim: Surrogate) -> None:
        """Restore the state of the best epoch."""
        if self._best_state:
            victim.module.load_state_dict(self._best_state)
            self._best_state = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the state from which an interrupted training resumes."""
        return {
            "skills": list(self.skills),
            "best_epoch": self.best_epoch,
            "best_skill": self._best_skill,
            "best_state": self._best_state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.skills, self.best_epoch = list(state["skills"]), state["best_epoch"]
        self._best_skill, self._best_state = state["best_skill"], state["best_state"]

    def __repr__(self) -> str:
        """Return the number of images it measures."""
        return f"EarlyStopping({len(self.validation)} clean images)"


def mean_skill(victim: Surrogate, clean: CleanSet) -> float:
    """Return the mean over the tasks of the model's skill on clean images. The model does not change."""
    device = choose_device(None, victim.module)
    outputs: dict[str, list[Tensor]] = {name: [] for name in victim.tasks}
    targets: dict[str, list[Tensor]] = {name: [] for name in victim.tasks}
    sums = dict.fromkeys(victim.tasks, 0.0)
    with borrowed(victim.module, device=device, trainable=False), torch.no_grad():
        for batch in clean.ordered(victim, device):
            answers, read = victim(batch.images), batch.targets
            for name, task in victim.tasks.items():
                if task.is_map:
                    # All outputs for a set of maps would take too much memory. Clamped: otherwise one batch of flat images,
                    # which leave next to nothing to explain, would outweigh all others.
                    sums[name] += len(batch) * max(task.skill(answers[name].float(), read[name]), -1.0)
                else:
                    outputs[name].append(answers[name].float())
                    targets[name].append(read[name])
    skills = [
        sums[name] / len(clean) if task.is_map else task.skill(torch.cat(outputs[name]), torch.cat(targets[name]))
        for name, task in victim.tasks.items()
    ]
    return sum(skills) / len(skills)
