"""The paper's pixel-level baselines: a separate perturbation for each sample, without a generator."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mtlue._data import Inspection, Samples, Transform, check_unprotected, inspect_dataset
from mtlue._fit import check_loss, check_parameters
from mtlue._losses import BaseUELoss, Surrogate, has_state
from mtlue._protect import ProtectedDataset, WorkFolder, check_levels, ranks_for
from mtlue._runtime import Compute, ProgressOption, Ranks, gradients_on
from mtlue._tasks import Tasks, resolve_tasks
from mtlue.baselines._pgd_stages import search_images
from mtlue.baselines._pixel_search import SearchPlan


def pgd(
    dataset: Dataset[Any],
    *,
    tasks: Tasks,
    surrogate: nn.Module | Surrogate,
    loss: BaseUELoss,
    epsilon: float = SearchPlan.epsilon,
    steps: int = SearchPlan.steps,
    step_size: float = SearchPlan.step_size,
    rounds: int = SearchPlan.rounds,
    surrogate_steps: int = SearchPlan.surrogate_steps,
    learning_rate: float = SearchPlan.learning_rate,
    stop_accuracy: float = SearchPlan.stop_accuracy,
    augment: Transform | None = None,
    path: str | os.PathLike[str] | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    precision: torch.dtype | None = None,
    num_workers: int = 0,
    seed: int = 0,
    progress: ProgressOption = None,
) -> ProtectedDataset[Tensor]:
    """Perturb each sample by projected gradient descent on a loss: EM, TAP and SEP as they were before the generator.

    A step moves every pixel by ``step_size`` against the sign of the loss's gradient. It then clamps the perturbation to
    [-epsilon, epsilon] and the image to [0, 1]. A frozen loss (TAP, SEP) takes ``rounds`` times ``steps`` steps from zero on
    each batch. A loss that trains the surrogate (EM) alternates: in each round the surrogate takes ``surrogate_steps`` steps on
    perturbed images, then the perturbations of all samples take ``steps`` steps from where they were.

    Called on all ranks of a process group, or of ``torchrun``, it has each rank make a part of the images. They write one
    store, whose bytes do not depend on their number. Rank 0 alone trains EM's surrogate. A loss that has a state of its own,
    such as `mtlue.RestartedEM`, works on one rank only.

    The defaults are the paper's for TAP and SEP (appendix A.1). **For EM set** ``rounds``, ``steps=20`` and
    ``step_size=0.8/255``. The paper uses ten rounds on NYUv2, and only the limit ``stop_accuracy`` if all tasks have classes.

    Args:
        dataset: Map-style set of pairs (image, targets), as in `mtlue.protect`; all images have one size.
        tasks: Tasks by name. An integer n means ``Classification(n)``.
        surrogate: Module that takes images in [0, 1], or a `mtlue.Surrogate`. A frozen loss leaves it bit for bit unchanged;
            TAP and SEP need one that was trained on clean data. EM trains it in place.
        loss: ``mtlue.EM()``, ``REM()``, ``TAP()``, ``SEP(checkpoints)``, ``RestartedEM()`` or your own, as in `mtlue.fit`.
        epsilon: Budget on the scale of [0, 1].
        steps: Gradient steps on each batch in a round.
        step_size: How far a pixel moves in a step, on the scale of [0, 1].
        rounds: Rounds, at most.
        surrogate_steps: Steps of EM's surrogate in a round.
        learning_rate: Learning rate of Adam, for EM's surrogate.
        stop_accuracy: Accuracy of EM's surrogate on all perturbed images at which no further round begins.
        augment: Applied to perturbed batches before the surrogate sees them, with new random numbers in each step: a function
            of images, or a `mtlue.datasets.JointTransform`, as in `mtlue.fit`.
        path: Folder to stream the protected images to. None keeps them in memory, as bytes. Repeat an interrupted call to
            resume it after its last complete batch. EM keeps its perturbations in ``<path>.partial``, two bytes a pixel, until
            the folder is complete.
        batch_size: Samples in a step. None fits the device. It is halved, with a warning, when memory runs out.
        device: Where to compute. By default the surrogate's device, or else CUDA, MPS or the CPU.
        precision: ``torch.float32`` or ``torch.bfloat16``. By default bfloat16 on a GPU that supports it.
        num_workers: Processes that read the data set.
        seed: Equal seeds give equal bytes on one device, whatever ``num_workers``.
        progress: As in `mtlue.fit`.

    Returns:
        The protected set, without a generator. No stored pixel differs from the clean 8-bit image by more than
        floor(255 * epsilon) levels.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, the data set has faults (the message lists all of them) or images of different
            sizes, or the surrogate's answers do not fit the tasks.
        FileExistsError: ``path`` already exists.
        BlockingIOError: another call is writing to ``path``.
        OSError: the disk is full. Repeat the call to resume.
        NotImplementedError: called on several ranks with a loss that has a state.
        RuntimeError: the loss or its gradient is not finite.
        TimeoutError: rank 0 has ended, or did not begin.

    Example:
        >>> import torch, mtlue
        >>> from mtlue import baselines
        >>> images, labels = torch.rand(16, 1, 8, 8), torch.arange(16) % 2
        >>> dataset = torch.utils.data.TensorDataset(images, labels)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> em = {"loss": mtlue.EM(), "rounds": 10, "steps": 20, "step_size": 0.8 / 255}
        >>> baselines.pgd(dataset, tasks={"shape": 2}, surrogate=net, **em, progress=False)
        ProtectedDataset(16 samples, tasks={'shape': Classification(2)}, epsilon=8/255)
    """
    check_unprotected("dataset", dataset)
    resolved = resolve_tasks(tasks)
    check_loss(loss)
    ranks = ranks_for(path)
    _check_shareable(loss, ranks)
    if isinstance(surrogate, Surrogate) and surrogate.tasks != resolved:
        raise ValueError(f"surrogate: its tasks {surrogate.tasks} differ from the tasks of this call, {resolved}")
    wrapped = surrogate if isinstance(surrogate, Surrogate) else Surrogate(surrogate, resolved)
    check_parameters(wrapped, loss)
    plan = SearchPlan(
        epsilon=epsilon,
        step_size=step_size,
        steps=steps,
        rounds=rounds,
        batch_size=batch_size,
        surrogate_steps=surrogate_steps,
        learning_rate=learning_rate,
        stop_accuracy=stop_accuracy,
        augment=augment,
    )
    compute = Compute.checked(
        device=device,
        module=wrapped.module,
        precision=precision,
        num_workers=num_workers,
        seed=seed,
        progress=False if ranks.rank else progress,
    )
    check_levels(epsilon)
    with WorkFolder.claim(path, ranks) as folders, gradients_on():
        inspection = inspect_dataset(dataset, resolved, num_workers=num_workers)
        _check_uniform(inspection)
        images = search_images(Samples(dataset, resolved), inspection.image_shape, wrapped, loss, plan, compute, folders)
        return ProtectedDataset[Tensor](images, dataset, tasks=resolved, epsilon=epsilon)


def _check_shareable(loss: BaseUELoss, ranks: Ranks) -> None:
    """Refuse a loss with a state, for which each batch depends on those before, if several ranks are to share them out.

    Raises:
        NotImplementedError: it has a state.
    """
    if ranks.size > 1 and has_state(loss):
        raise NotImplementedError(
            f"loss: {type(loss).__name__} learns from batch to batch, so {ranks.size} ranks cannot share the images; call pgd "
            "on one rank, or take a loss such as EM or TAP"
        )


def _check_uniform(inspection: Inspection) -> None:
    """Refuse images of different sizes.

    Raises:
        ValueError: images differ in size.
    """
    if not inspection.uniform:
        shown = ", ".join(f"{height}x{width}" for height, width in sorted(inspection.sizes)[:3])
        raise ValueError(
            f"dataset: a perturbation for each pixel needs images of one size, got {len(inspection.sizes)} sizes such as "
            f"{shown}; resize them in the data set, or use mtlue.protect"
        )
