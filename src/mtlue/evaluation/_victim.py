"""Train a victim: the model of somebody who takes the protected set and trains on it."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mtlue._checks import check_arity
from mtlue._data import Inspection, Samples, Transform, check_map_style, inspect_dataset
from mtlue._fit import Checkpoint, Schedule, module_batch_size
from mtlue._losses import Surrogate
from mtlue._runtime import Compute, ProgressOption, gradients_on, repeatable_convolutions, sole_owner
from mtlue._tasks import Tasks, resolve_tasks
from mtlue.defenses import Defense, as_defense
from mtlue.evaluation._identity import victim_settings
from mtlue.evaluation._victim_check import check_victim
from mtlue.evaluation._victim_model import make_model
from mtlue.evaluation._victim_training import AfterEpoch, Model, VictimPlan, VictimTraining
from mtlue.evaluation._weighting import Uniform, Weighting


def dense_paper_schedule(done: float) -> float:
    """Divide the learning rate by ten in the second half of the training (from epoch 100 of 200 on NYUv2, appendix A.2).

    The paper starts at a learning rate of 1e-4, with batches of 8 samples.

    Args:
        done: Share of the training that is done, in [0, 1).

    Returns:
        The factor for the learning rate.

    Example:
        >>> import torch, mtlue
        >>> from mtlue import evaluation
        >>> [evaluation.dense_paper_schedule(epoch / 200) for epoch in (0, 99, 100, 199)]
        [1.0, 1.0, 0.1, 0.1]
        >>> dataset = [(torch.rand(3, 8, 8), torch.rand(1, 8, 8)) for _ in range(8)]
        >>> training = {"schedule": evaluation.dense_paper_schedule, "learning_rate": 1e-4, "batch_size": 8}
        >>> training |= {"model": torch.nn.Conv2d(3, 1, 3, padding=1), "epochs": 2, "progress": False}
        >>> victim = evaluation.train_victim(dataset, tasks={"depth": mtlue.Depth()}, **training)
    """
    return 0.1 if done >= 0.5 else 1.0


def train_victim(
    dataset: Dataset[Any],
    *,
    tasks: Tasks,
    model: Model | None = None,
    weighting: Weighting | None = None,
    defense: Defense | Callable[[Tensor], Tensor] | None = None,
    transform: Transform | None = None,
    epochs: int = VictimPlan.epochs,
    batch_size: int | None = None,
    learning_rate: float = VictimPlan.learning_rate,
    schedule: Schedule = VictimPlan.schedule,
    image_size: tuple[int, int] | None = None,
    after_epoch: AfterEpoch | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    device: torch.device | str | None = None,
    precision: torch.dtype | None = None,
    num_workers: int = 0,
    seed: int = 0,
    progress: ProgressOption = None,
) -> nn.Module:
    """Train a model on a data set as somebody who found it would, by default with the paper's schedule (Adam, appendix A.2).

    Args:
        dataset: Map-style set of pairs (image, targets), such as a `mtlue.ProtectedDataset`. It may augment its images.
        tasks: The tasks to learn. An integer n means ``Classification(n)``. To learn only some tasks of a data set, wrap it in
            `SelectedTasks`.
        model: A module, the name of a backbone for `build_model`, or a function that makes a module for the given tasks. A copy
            of a module is trained, from its present weights. ``"resnet18"`` if None.
        weighting: How to weight the losses of the tasks. `Uniform` if None.
        defense: One of `mtlue.defenses`, or a function of training images (B, C, H, W) in [0, 1].
        transform: Augmentation of batches, after the defence: a function of images, or a joint transform such as
            `mtlue.datasets.RandomZoomFlip`. Label maps need a joint transform as soon as pixels move. If None, a random crop
            and flip, or nothing if labels are maps.
        epochs: Passes over the data.
        batch_size: Samples in a step. If None, as in `mtlue.fit`.
        learning_rate: Learning rate of Adam.
        schedule: A function from the share of the training that is done, in [0, 1), to a factor for the learning rate. For
            label maps the paper uses `dense_paper_schedule`.
        image_size: Height and width to resize images to. None if all images have one size.
        after_epoch: Called after each epoch with its number, from 0, and the model in eval mode.
        checkpoint: File for the state after each epoch. It stays when the training is done. If the file exists, the training
            resumes from it, and gives the model that an uninterrupted training would have given. ``after_epoch`` is not called
            again for finished epochs. If it has ``state_dict`` and ``load_state_dict``, its state is kept in the file too, and
            so is that of a `Weighting` and of a defence. A file that belongs to another data set (some samples are compared),
            to other arguments or to a model with other initial weights is refused. So seed torch before you build a module, or
            pass a function that does.
        device: Where to compute. By default the model's device, or else CUDA, MPS or the CPU.
        precision: ``torch.float32`` or ``torch.bfloat16`` (autocast). By default bfloat16 on a GPU that supports it.
        num_workers: Processes that read the data set.
        seed: Seed of the initial weights, the order of samples and the augmentation.
        progress: As in `mtlue.fit`.

    Returns:
        The trained model in eval mode. It takes images in [0, 1].

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, the data set has faults (the message lists all of them), the model does not
            answer the tasks, or the defence does not work on them.
        RuntimeError: the loss is no longer finite.
        BlockingIOError: another call is writing to ``checkpoint``.

    Example:
        >>> import torch
        >>> from mtlue import evaluation
        >>> dataset = torch.utils.data.TensorDataset(torch.rand(8, 1, 8, 8), torch.arange(8) % 2)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> victim = evaluation.train_victim(dataset, tasks={"shape": 2}, model=net, epochs=1, progress=False)
        >>> victim.training, victim is net
        (False, False)
    """
    check_map_style("dataset", dataset)
    if after_epoch is not None:
        if not callable(after_epoch):
            raise TypeError(f"after_epoch: expected a callable, got {after_epoch!r}")
        check_arity("after_epoch", after_epoch, "epoch", "model")
    plan = VictimPlan(
        model=model,
        weighting=Uniform() if weighting is None else weighting,
        defense=as_defense(defense),
        transform=transform,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        image_size=image_size,
    )
    resolved = resolve_tasks(tasks)
    plan.defense.check_tasks(resolved)
    compute = Compute.checked(
        device=device,
        module=model if isinstance(model, nn.Module) else None,
        precision=precision,
        num_workers=num_workers,
        seed=seed,
        progress=progress,
    )
    with sole_owner(checkpoint, argument="checkpoint"), gradients_on():
        inspection = inspect_dataset(dataset, resolved, num_workers=num_workers, reread=False)
        samples = Samples(dataset, resolved, size=plan.image_size)
        shape = seen_shape(inspection, plan.image_size)
        return train_on(samples, shape, plan, compute, after_epoch, checkpoint=checkpoint)


def train_on(
    samples: Samples,
    image_shape: tuple[int, int, int],
    plan: VictimPlan,
    compute: Compute,
    after_epoch: AfterEpoch | None = None,
    *,
    checkpoint: str | os.PathLike[str] | None = None,
) -> nn.Module:
    """Run `train_victim` on a data set that is already checked.

    Args:
        samples: The data set.
        image_shape: Shape (C, H, W) of the images that the model sees.
        plan: The settings.
        compute: Where and how to compute.
        after_epoch: As in `train_victim`.
        checkpoint: As in `train_victim`.

    Raises:
        TypeError: the model's answers are not made of tensors.
        ValueError: the model cannot be trained, or does not answer the tasks.
    """
    module = make_model(plan.model, samples.tasks, image_shape=image_shape, seed=compute.seed)
    victim = Surrogate(module.to(compute.device), samples.tasks, argument="model")
    check_victim(victim, samples, compute)
    # As everywhere: equal seeds give equal weights.
    with repeatable_convolutions():
        batch_size = plan.batch_size or module_batch_size(module, samples, compute)
        settings = {}
        if checkpoint is not None:
            settings = victim_settings(module, samples, plan, compute, batch_size=batch_size)
        VictimTraining(victim, samples, plan, compute, batch_size).run(after_epoch, Checkpoint(checkpoint, settings))
    return module.eval()


def seen_shape(inspection: Inspection, image_size: tuple[int, int] | None) -> tuple[int, int, int]:
    """Return the shape (C, H, W) of the images that a model sees.

    Raises:
        ValueError: images differ in size, and no size to resize them to is given.
    """
    if not inspection.uniform and image_size is None:
        sizes = len(inspection.sizes)
        raise ValueError(f"image_size: expected a size such as image_size=(64, 64), because the images have {sizes} sizes")
    return (inspection.channels, *(image_size or inspection.typical_size))
