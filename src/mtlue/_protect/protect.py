"""The function that protects a data set."""

from __future__ import annotations

import os
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mtlue._checks import check_count, check_epsilon, check_share, check_task_names
from mtlue._data import Samples, check_map_style, check_unprotected, run_settings
from mtlue._fit import check_channels, check_loss, recipe_for
from mtlue._formats import WorkFolder
from mtlue._generator import UEGenerator, check_levels
from mtlue._losses import BaseUELoss, Surrogate
from mtlue._protect.arguments import (
    DEFAULT_EPSILON,
    budget_of,
    check_lengths,
    checkpoint_as_surrogate,
    inspect_together,
    made_by,
    module_of,
    needs_training,
    ranks_for,
    tasks_for,
)
from mtlue._protect.attempts import Making, check_attempts
from mtlue._protect.checking import tell
from mtlue._protect.protected_dataset import ProtectedDataset
from mtlue._protect.stages import Models, default_loss, selected_samples, write_images
from mtlue._protect.weak_outcomes import warn_of_data, warn_of_weak_outcomes
from mtlue._runtime import Compute, ProgressOption, gradients_on, warn
from mtlue._tasks import Tasks


def protect(
    dataset: Dataset[Any],
    *,
    tasks: Tasks | None = None,
    surrogate: nn.Module | Surrogate | None = None,
    loss: BaseUELoss | None = None,
    generator: UEGenerator | None = None,
    epsilon: float = DEFAULT_EPSILON,
    protected_tasks: Collection[str] | None = None,
    fraction: float = 1.0,
    check: bool = True,
    attempts: int = 1,
    path: str | os.PathLike[str] | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    precision: torch.dtype | None = None,
    num_workers: int = 0,
    seed: int = 0,
    progress: ProgressOption = None,
) -> ProtectedDataset[Tensor]:
    """Protect a data set, in the simplest case by ``mtlue.protect(dataset)``.

    By default the tasks are read from the labels. The loss is `mtlue.RestartedEM` with two small networks that start anew, one
    of which sees images after JPEG of quality 10, and with ``misleading=1.0``: a third small network is trained on the clean
    images for a fifth of the epochs, and the generator learns to mislead it. A new `mtlue.UEGenerator` is trained with
    `mtlue.fit` at half the size of the images. Each argument replaces one of these parts. ``loss=mtlue.TAP()`` gives the
    paper's method: it trains a ResNet-18 on the clean data, and then a generator of the images' size against it, for 60 epochs
    each.

    Networks see images shifted at random, and mirrored if a small network finds that this keeps the labels.

    If labels are maps, there is one network that starts anew, all networks are small U-Nets, and the generator has the images'
    size. Images are neither shifted nor mirrored then, because the maps would have to move along; `mtlue.fit` takes
    augmentation that moves both.

    Args:
        dataset: Map-style set of pairs (image, targets). An image is a float tensor in [0, 1], a uint8 tensor or a PIL image.
            Targets are a dict by task name, a tuple or list in task order, one (K,) tensor, or one integer. If images differ in
            size, the perturbation is made at the median size and resized to each.
        tasks: Tasks by name. An integer n means ``Classification(n)``. If None, the ``tasks`` of the generator, the surrogate
            or the data set, whichever exists first; otherwise they are read from the labels.
        surrogate: A model that takes images in [0, 1]. TAP and SEP need one that was trained on clean data. EM trains it.
            `mtlue.RestartedEM` trains new copies of it. With ``misleading``, as by default, it also has to have been trained on
            clean data.
        loss: The base loss. If None, the one described above.
        generator: A generator from `mtlue.fit` or `mtlue.UEGenerator.load` is used unchanged. A new one is trained first.
        epsilon: Budget on the scale of [0, 1]. By default 8/255, or that of the given generator.
        protected_tasks: Names of the tasks to make unlearnable. None means all. The others stay learnable (section 5.3).
        fraction: Share of the samples to perturb, in [0, 1]. The seed decides which ones.
        check: Whether to check the result. A small network trains briefly on clean, on noisy and on protected images, to see
            what it still learns: on up to 2,400 images, tested on up to 1,000 others, chosen by the seed. This costs about a
            tenth of the training, and some seconds at least. The result is the set's `mtlue.Check`. A warning names each task
            that is still learned.
        attempts: How many generators to train, each with its own seed, and with its own surrogate if you give none. The check
            keeps the one that leaves least to learn, as a mean over the tasks.
        path: Folder to stream the protected images to. None keeps them in memory, as bytes. Repeat an interrupted call to
            resume it. What it needs for that, including the generator, is in ``<path>.partial`` until the folder is complete,
            and is then deleted. Under ``torchrun`` give all ranks the same path, on a file system that they share: they divide
            the images between them, and each returns the same set.
        epochs: Passes over the data, at most, for a surrogate and a generator that need training. None as in `mtlue.fit`. Fewer
            take less time and protect less.
        batch_size: Samples in a step. None as in `mtlue.fit`.
        device: Where to compute. By default the surrogate's device, or else CUDA, MPS or the CPU.
        precision: ``torch.float32`` or ``torch.bfloat16``. By default bfloat16 on a GPU that supports it.
        num_workers: Processes that read the data set.
        seed: Seed of everything random. Equal seeds give equal bytes on one device, whatever ``num_workers``.
        progress: As in `mtlue.fit`.

    Returns:
        The protected set. No stored pixel differs from the clean 8-bit image by more than floor(255 * epsilon) levels.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range or contradicts another, the data set has faults (the message lists all of them),
            or the surrogate's answers do not fit the tasks; or several ranks have no ``path`` to share, or no process group in
            which to train a generator.
        FileExistsError: ``path`` already exists.
        BlockingIOError: another call is writing to ``path``.
        OSError: the disk is full. Repeat the call to resume.
        TimeoutError: rank 0 has ended, or did not call this function.

    Example:
        >>> import torch, mtlue
        >>> images = torch.randint(256, (16, 3, 8, 8), dtype=torch.uint8)
        >>> labels = [{"smiling": i % 2, "young": i // 2 % 2} for i in range(16)]
        >>> dataset = list(zip(images, labels))
        >>> # One logit for each binary task. mtlue.protect(dataset) alone takes longer.
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2))
        >>> quick = {"surrogate": net, "loss": mtlue.EM(), "epochs": 1, "progress": False}
        >>> protected = mtlue.protect(dataset, **quick)
        >>> protected.tasks
        {'smiling': Classification(2), 'young': Classification(2)}
        >>> image, targets = protected[5]
        >>> targets
        {'smiling': 1, 'young': 0}
        >>> int((255 * image - images[5]).abs().round().max()) <= 8
        True
    """
    ranks = ranks_for(path)
    check_unprotected("dataset", check_map_style("dataset", dataset))
    check_epsilon("epsilon", epsilon)
    check_share("fraction", fraction)
    check_attempts(check_count("attempts", attempts, minimum=1), check=check, generator=generator)
    default = generator is None and surrogate is None and loss is None
    check_lengths(epochs, batch_size)
    surrogate = checkpoint_as_surrogate(loss) if surrogate is None else surrogate
    compute = Compute.checked(
        device=device,
        module=module_of(surrogate),
        precision=precision,
        num_workers=num_workers,
        seed=seed,
        progress=False if ranks.rank else progress,
    )
    resolved, inspection = tasks_for(dataset, tasks, surrogate, generator, num_workers)
    wrapped = surrogate if surrogate is None or isinstance(surrogate, Surrogate) else Surrogate(surrogate, resolved)
    chosen_loss = default_loss(resolved) if loss is None else check_loss(loss)
    recipe = recipe_for(chosen_loss, resolved)
    plan = recipe.plan(dataset, compute, epochs=epochs, batch_size=batch_size)
    protected = check_task_names("protected_tasks", protected_tasks, resolved)
    if generator is not None:
        epsilon = budget_of(generator, resolved, epsilon)
    known: Any = {"tasks": resolved, "epsilon": epsilon, "protected_tasks": protected, "fraction": fraction}
    with WorkFolder.claim(path, ranks) as folders, gradients_on():
        untrained = needs_training(generator, folders, ranks)
        if not untrained and (surrogate is not None or loss is not None):
            warn("generator: it is trained already, so surrogate and loss are ignored; to train it further, call mtlue.fit")
        check_levels(epsilon)
        inspection = inspection or inspect_together(dataset, resolved, compute)
        # With a trained generator it is fine to protect a few more samples, all of one class.
        warn_of_data(inspection, fraction, protected if untrained else ())
        if generator is not None:
            check_channels(generator, inspection)
        shape = inspection.image_shape if generator is None else generator.image_shape
        samples = Samples(dataset, resolved, size=inspection.size_for(shape))
        if folders is not None:
            settings = {
                **made_by(generator, chosen_loss, wrapped, plan, untrained=untrained),
                "epsilon": epsilon,
                "protected_tasks": protected,
                "fraction": fraction,
                "attempts": attempts,
                "epochs": plan.epochs,
                **compute.settings(),
            }
            finished = folders.check_settings(run_settings(samples, settings))
            if finished is not None:
                if untrained:
                    warn(
                        f"path: {folders.final} was finished by an earlier call like this one and is returned; "
                        "the generator that made it is gone"
                    )
                return ProtectedDataset[Tensor](finished, dataset, generator=None if untrained else generator, **known)
        selected = selected_samples(fraction, inspection.length, compute)
        making = Making(samples, inspection, selected, protected, compute, recipe.network_passes)
        history, found = None, None
        if generator is None or untrained:
            models = Models(chosen_loss, wrapped, generator, epsilon)
            generator, history, found = making.train(models, plan, attempts, folders)
        generation = making.generation(generator)
        # The loss of networks that start anew rises with each new network.
        if not ranks.rank:
            warn_of_weak_outcomes(generation, None if recipe.own_networks else history)
            if check:
                found = found or making.check(generator, history, folders)
                tell(
                    found,
                    fraction=fraction,
                    attempts=attempts,
                    default=default,
                    longer=untrained and (not default or plan.epochs < recipe.plan(dataset, compute).epochs),
                )
        images = write_images(generation, inspection.image_shape if inspection.uniform else None, batch_size, folders)
        # Rank 0 has checked it meanwhile.
        found = (found or making.check(generator, history, folders)) if check and ranks.rank else found
        return ProtectedDataset[Tensor](images, dataset, generator=generator, history=history, check=found, **known)
