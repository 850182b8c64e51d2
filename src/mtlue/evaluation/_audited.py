"""The three sets of an audit, their tasks, and how victims see them. All are checked before anything is trained."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset

from mtlue._checks import check_epsilon, check_seed, check_task_names
from mtlue._data import Inspection, JointTransform, Samples, check_map_style, inspect_dataset, same_samples
from mtlue._losses import Surrogate
from mtlue._protect import DEFAULT_EPSILON, ProtectedDataset
from mtlue._runtime import Compute, warn
from mtlue._tasks import Task, Tasks, resolve_tasks
from mtlue.baselines import random_noise
from mtlue.defenses import Defense, as_defense
from mtlue.evaluation._noise_budget import noise_budget
from mtlue.evaluation._rehearsal import rehearse, rehearse_transform
from mtlue.evaluation._select_tasks import SelectedTasks
from mtlue.evaluation._victim import seen_shape
from mtlue.evaluation._victim_check import check_victim
from mtlue.evaluation._victim_model import make_model
from mtlue.evaluation._victim_training import VictimPlan


@dataclass(frozen=True)
class Audited:
    """The sets of an audit, which have been read once and are not checked again.

    Attributes:
        protected: The protected set.
        clean: The same samples without protection.
        test: Clean samples that no victim is trained on.
        tasks: All tasks.
        epsilon: The budget of the protection.
        noise_epsilon: The budget of the noise in the control.
        image_shape: Shape (C, H, W) of the images that victims see.
        image_size: Height and width to resize images to; None if all images have one size.
    """

    protected: Dataset[Any]
    clean: Dataset[Any]
    test: Dataset[Any]
    tasks: Mapping[str, Task]
    epsilon: float
    noise_epsilon: float
    image_shape: tuple[int, int, int]
    image_size: tuple[int, int] | None

    @classmethod
    def checked(
        cls,
        protected: Dataset[Any],
        clean: Dataset[Any],
        test: Dataset[Any],
        *,
        tasks: Tasks | None,
        image_size: tuple[int, int] | None,
        num_workers: int,
    ) -> Audited:
        """Check the sets of an audit, and return them as one object.

        Raises:
            TypeError: a set has no length, or cannot be indexed.
            ValueError: a set has samples that cannot be used, the sets do not belong together, one is given twice, or the tasks
                cannot be found.
        """
        for name, each in (("protected", protected), ("clean", clean), ("test", test)):
            check_map_style(name, each)
        if isinstance(clean, ProtectedDataset):
            raise ValueError(
                "clean: expected samples without protection, got a protected set; the arguments are protected, clean, test"
            )
        if len(protected) != len(clean):  # type: ignore[arg-type]  # both have a length, this was checked
            raise ValueError(f"clean: expected the {len(protected)} samples of the protected set, got {len(clean)}")  # type: ignore[arg-type]
        resolved = _tasks_of(protected, tasks)
        inspection = _inspect("clean", clean, resolved, num_workers)
        held_out = _inspect("test", test, resolved, num_workers)
        # Sets to train on may augment their images.
        _inspect("protected", protected, resolved, num_workers, reread=False)
        if held_out.channels != inspection.channels:
            raise ValueError(
                f"test: expected images of {inspection.channels} channels as in the clean set, got {held_out.channels}"
            )
        seen_shape(held_out, image_size)
        shape = seen_shape(inspection, image_size)
        if same_samples(protected, clean, resolved):
            raise ValueError("protected: expected protected samples, got the clean set: all images and labels are the same")
        if any(same_samples(test, each, resolved) for each in (clean, protected)):
            raise ValueError("test: expected samples that no victim is trained on, got all of the clean or the protected set")
        _check_test(held_out)
        epsilon = check_epsilon("epsilon", getattr(protected, "epsilon", DEFAULT_EPSILON))
        noise = noise_budget(protected, clean, epsilon)
        return cls(protected, clean, test, resolved, epsilon, noise, shape, image_size)

    def samples(self, dataset: Dataset[Any], names: Collection[str]) -> Samples:
        """Return one of the sets as a victim sees it, with the labels of some tasks."""
        selected = SelectedTasks(dataset, self.tasks, names)
        return Samples(selected, selected.tasks, size=self.image_size)

    def noise(self, seed: int) -> Dataset[Any]:
        """Return the control: the clean set with random noise."""
        return random_noise(self.clean, tasks=self.tasks, epsilon=self.noise_epsilon, seed=seed)

    def rehearse(self, plan: VictimPlan, compute: Compute, defenses: Collection[Defense], alone: Sequence[str]) -> None:
        """Try the model, the defences and the augmentation on a few images.

        Raises:
            TypeError: one of them returns something of the wrong type.
            ValueError: one of them does not work on these sets or tasks.
        """
        for defense in defenses:
            defense.check_tasks(self.tasks)
        module = make_model(plan.model, dict(self.tasks), image_shape=self.image_shape, seed=0).to(compute.device)
        samples = Samples(self.protected, self.tasks, size=self.image_size)
        check_victim(Surrogate(module, self.tasks, argument="model"), samples, compute)
        for defense in defenses:
            rehearse(defense, module, samples)
        if isinstance(plan.transform, JointTransform):
            for names in (tuple(self.tasks), *((name,) for name in alone)):
                rehearse_transform(plan.transform, self.samples(self.protected, names))


def check_seeds(seeds: Sequence[int]) -> None:
    """Check the seeds of an audit.

    Raises:
        TypeError: the seeds are not a list, or a seed is not an integer.
        ValueError: the list is empty, a seed is negative, or a seed is repeated.
    """
    if isinstance(seeds, str) or not isinstance(seeds, Sequence):
        raise TypeError(f"seeds: expected a list of integers such as [0, 1, 2], got {seeds!r}")
    if not seeds:
        raise ValueError("seeds: expected at least one, got none")
    for seed in seeds:
        check_seed("seeds", seed)
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds: expected each once, got {list(seeds)}")


def named_defenses(defenses: Sequence[Defense | Callable[[Tensor], Tensor]]) -> dict[str, Defense]:
    """Name the defences as tables do. Defences that share a name are named by the call that makes them.

    Raises:
        TypeError: the defences are not a list, or one of them is not a defence.
        ValueError: two defences cannot be told apart.
    """
    if isinstance(defenses, str) or not isinstance(defenses, Sequence):
        raise TypeError(f"defenses: expected a list of defences, got {defenses!r}")
    made = [as_defense(each) for each in defenses]
    short = [each.name for each in made]
    names = [repr(each) if short.count(name) > 1 else name for each, name in zip(made, short, strict=True)]
    if len(set(names)) < len(names):
        raise ValueError(
            f"defenses: expected each once and with a name of its own, got {names}; functions need different names"
        )
    return dict(zip(names, made, strict=True))


def _check_test(inspection: Inspection) -> None:
    """Warn of a test set that cannot tell what a victim has learned."""
    if inspection.length == 1:
        warn("test: one sample cannot tell what a victim has learned; give more")
    elif inspection.lone:
        names = ", ".join(map(repr, inspection.lone))
        warn(
            f"test: every label of {names} is the same class, so a victim that always answers it looks perfect; give samples "
            "of the other classes too, or leave the task out"
        )


def tasks_alone(single_task: Collection[str] | None, tasks: Mapping[str, Task]) -> list[str]:
    """Return the names of the tasks that get a single-task victim.

    Raises:
        TypeError: the names are not a collection.
        ValueError: a name is not the name of a task.
    """
    if single_task is not None and (isinstance(single_task, str) or not isinstance(single_task, Collection)):
        got = repr(single_task) if isinstance(single_task, str) else type(single_task).__name__
        raise TypeError(f"single_task: expected names of tasks ([] for none), got {got}")
    names = check_task_names("single_task", single_task, tasks) if single_task is None or len(single_task) else []
    return names if len(tasks) > 1 else []


def _tasks_of(protected: Dataset[Any], tasks: Tasks | None) -> dict[str, Task]:
    """Return the given tasks, or else those of the protected set.

    Raises:
        ValueError: the protected set has no tasks.
    """
    found = getattr(protected, "tasks", None) if tasks is None else tasks
    if found is None:
        raise ValueError(
            "tasks: the protected set has no attribute of that name, give the tasks by name; what mtlue.protect or a baseline "
            "returned has it, and the arguments are protected, clean, test"
        )
    return resolve_tasks(found)


def _inspect(
    argument: str, dataset: Dataset[Any], tasks: Mapping[str, Task], num_workers: int, *, reread: bool = True
) -> Inspection:
    """Read every sample of a set, and report faults under the name of the set.

    Raises:
        ValueError: the set is empty, or has samples that cannot be used.
    """
    try:
        return inspect_dataset(dataset, tasks, num_workers=num_workers, reread=reread)
    except ValueError as error:
        raise ValueError(f"{argument}: {error}") from None
