"""The verb that trains a generator."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mtlue._data import Batch, Inspection, Samples, Transform, inspect_dataset, run_settings
from mtlue._fit.checkpoint import Checkpoint
from mtlue._fit.history import History
from mtlue._fit.optimization import perturbed_loss, probed_batch_size
from mtlue._fit.plan import FitPlan
from mtlue._fit.recipe import recipe_for
from mtlue._fit.schedule import Schedule
from mtlue._fit.surrogate_check import check_answers, check_loss, check_parameters
from mtlue._fit.training import GeneratorTraining
from mtlue._generator import UEGenerator
from mtlue._losses import BaseUELoss, Surrogate, borrowed, networks_of
from mtlue._runtime import Compute, ProgressOption, check_single_process, described, gradients_on, moved, sole_owner


def fit(
    generator: UEGenerator,
    dataset: Dataset[Any],
    surrogate: nn.Module | Surrogate,
    *,
    loss: BaseUELoss,
    epochs: int | None = None,
    batch_size: int | None = None,
    learning_rate: float | None = None,
    schedule: Schedule | None = None,
    lambda_intra: float = FitPlan.lambda_intra,
    lambda_inter: float = FitPlan.lambda_inter,
    surrogate_steps: int = FitPlan.surrogate_steps,
    stop_accuracy: float = FitPlan.stop_accuracy,
    augment: Transform | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    device: torch.device | str | None = None,
    precision: torch.dtype | None = None,
    num_workers: int = 0,
    seed: int = 0,
    progress: ProgressOption = None,
) -> History:
    """Train a generator against a surrogate (Algorithm 1).

    It minimises base loss + lambda_intra * intra-ER + lambda_inter * inter-ER with Adam. If ``epochs``, ``learning_rate``,
    ``schedule`` or ``batch_size`` is None, the loss decides:

    * EM, TAP and SEP take the paper's 60 epochs, with a rate of 1e-3 that falls to a tenth after 60 % and to a hundredth after
      80 % of them (A.2).
    * `mtlue.RestartedEM` takes the settings that it was measured with: batches of 64 and one cycle up to 3e-3. The generator
      sees 64,000 images on a processor, and four times as many on a GPU.

    If the loss trains the surrogate (EM), the surrogate takes ``surrogate_steps`` steps after each epoch. The run ends once its
    accuracy on perturbed images reaches ``stop_accuracy``.

    Args:
        generator: Trained in place, and left in eval mode on the device where it was.
        dataset: Map-style set of pairs (image, targets).
        surrogate: Module that sees images in [0, 1], or a `mtlue.Surrogate`. A frozen loss leaves it bit for bit as it was; EM
            trains it in place. Mode, device and ``requires_grad`` are always restored.
        loss: ``mtlue.RestartedEM()``, ``EM()``, ``TAP()``, ``SEP(checkpoints)`` or your own.
        epochs: Passes over the data, at most. Fewer take less time and protect less.
        batch_size: Samples a step. If None and the loss does not say, as many as fit the device, at most 512, and few enough
            for 32 steps an epoch. It is halved, with a warning, when memory runs out.
        learning_rate: Adam's, for the generator and for EM's surrogate.
        schedule: Function from the share of the training done, in [0, 1), to the share of the learning rate for the next step:
            `mtlue.evaluation.paper_schedule`, `one_cycle`, for NYUv2 `dense_paper_schedule`, or your own.
        lambda_intra: Weight of equation 4.
        lambda_inter: Weight of equation 5.
        surrogate_steps: Steps of EM's surrogate after each epoch.
        stop_accuracy: Accuracy of EM's surrogate at which the run ends; above 1 means never.
        augment: Applied to perturbed batches before the surrogate sees them. It must keep batch, channels and dtype, and let
            gradients through. A function sees only images, and must not move pixels if a task's labels are maps; a
            `mtlue.datasets.JointTransform` moves labels with the images. Random numbers of torch and ``random`` are seeded for
            it.
        checkpoint: File for the state after each epoch. If it exists, the run resumes from it and ends as an unbroken run
            would. A file of another data set (some samples are compared), of other arguments, or of other weights of a frozen
            surrogate is refused, so keep the surrogate in a file.
        device: Where to compute; if None the surrogate's device, when it has parameters, else CUDA, MPS or CPU.
        precision: ``torch.float32`` or ``torch.bfloat16`` (autocast); if None bfloat16 on a GPU that has it.
        num_workers: Processes that read the data set.
        seed: Seed of order and augmentation; equal seeds give equal generators on one device.
        progress: None for a bar in a terminal when tqdm is there, else log lines; True, False, or a callable that gets a
            dictionary of each step's figures.

    Returns:
        The figures of each epoch.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, the data set has faults (all are listed at once), or the surrogate's answers do
            not fit the tasks.
        NotImplementedError: called inside a process group of several ranks.
        RuntimeError: the loss is no longer finite.
        BlockingIOError: another call is writing to ``checkpoint``.

    Example:
        >>> import torch, mtlue
        >>> images, labels = torch.rand(16, 1, 8, 8), torch.arange(16) % 2
        >>> dataset = torch.utils.data.TensorDataset(images, labels)
        >>> generator = mtlue.UEGenerator({"shape": 2}, (1, 8, 8), width=4)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> mtlue.fit(generator, dataset, net, loss=mtlue.EM(), epochs=1, batch_size=8, progress=False)
        History(1 epochs, base_loss=...)
    """
    check_single_process()
    wrapped = check_models(generator, surrogate, loss)
    compute = Compute.checked(
        device=device,
        module=wrapped.module,
        precision=precision,
        num_workers=num_workers,
        seed=seed,
        progress=progress,
    )
    plan = recipe_for(loss).plan(
        dataset,
        compute,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        lambda_intra=lambda_intra,
        lambda_inter=lambda_inter,
        surrogate_steps=surrogate_steps,
        stop_accuracy=stop_accuracy,
        augment=augment,
    )
    with sole_owner(checkpoint, argument="checkpoint"), gradients_on():
        inspection = inspect_dataset(dataset, generator.tasks, num_workers=num_workers)
        check_channels(generator, inspection)
        samples = Samples(dataset, generator.tasks, size=inspection.size_for(generator.image_shape))
        return train_generator(generator, wrapped, loss, samples, plan, compute, checkpoint=checkpoint)


def check_models(generator: UEGenerator, surrogate: nn.Module | Surrogate, loss: BaseUELoss) -> Surrogate:
    """Check generator, surrogate and loss, and give the surrogate the generator's tasks.

    Raises:
        TypeError: one of them has the wrong type.
        ValueError: the surrogate has no parameters, or was wrapped with other tasks.
    """
    if not isinstance(generator, UEGenerator):
        raise TypeError(f"generator: expected a mtlue.UEGenerator, got {type(generator).__name__}")
    check_loss(loss)
    if isinstance(surrogate, Surrogate) and surrogate.tasks != generator.tasks:
        raise ValueError(f"surrogate: its tasks {surrogate.tasks} differ from the generator's {generator.tasks}")
    wrapped = surrogate if isinstance(surrogate, Surrogate) else Surrogate(surrogate, generator.tasks)
    check_parameters(wrapped, loss)
    return wrapped


def check_channels(generator: UEGenerator, inspection: Inspection) -> None:
    """Check that a generator is made for images like these.

    Raises:
        ValueError: it is made for another number of channels.
    """
    if inspection.channels != generator.image_shape[0]:
        raise ValueError(f"generator: made for {generator.image_shape[0]} channels, but the images have {inspection.channels}")


def train_generator(
    generator: UEGenerator,
    surrogate: Surrogate,
    loss: BaseUELoss,
    samples: Samples,
    plan: FitPlan,
    compute: Compute,
    *,
    checkpoint: str | os.PathLike[str] | None,
    epochs_here: int = 0,
) -> History:
    """`fit` on arguments that are already checked; ``epochs_here`` is for how long this call has trained the surrogate.

    Raises:
        TypeError: the loss is not a scalar, or ``augment`` returns no images.
        ValueError: the surrogate does not answer the tasks, or no gradient reaches the images.
    """
    with moved(generator, compute.device), torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        check_answers(surrogate, loss, samples, compute, epochs_here=epochs_here)
        with borrowed(surrogate.module, device=compute.device, trainable=loss.trains_surrogate):
            batch_size = plan.batch_size or _fitting_batch_size(generator, surrogate, loss, samples, compute)
            # The surrogate of EM takes as many samples a step: no more than there are.
            batch_size = min(batch_size, len(samples))
            settings = {}
            if checkpoint is not None:
                own = {"generator": generator.config(), "loss": described(loss), "batch_size": batch_size}
                settings = run_settings(
                    samples, {**networks_of(loss, surrogate), **plan.settings(), **compute.settings(), **own}
                )
            training = GeneratorTraining(generator, surrogate, loss, samples, plan, compute, batch_size)
            try:
                return training.run(Checkpoint(checkpoint, settings))
            finally:
                # The last step's gradients would take as much memory as the weights.
                generator.zero_grad(set_to_none=True)


def _fitting_batch_size(
    generator: UEGenerator, surrogate: Surrogate, loss: BaseUELoss, samples: Samples, compute: Compute
) -> int:
    generator.eval()

    def step(batch: Batch) -> Tensor:
        with compute.autocast():
            perturbed = Batch(generator.perturb(batch.images, batch.targets), batch.targets)
            return perturbed_loss(loss, surrogate, perturbed, batch.images, None)

    return probed_batch_size(step, samples, compute, loss=loss)
