"""The function that trains a generator."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from mtlue._data import Batch, Inspection, Samples, Transform, check_source, inspected, run_settings
from mtlue._fit.checkpoint import Checkpoint
from mtlue._fit.history import History
from mtlue._fit.optimization import perturbed_loss, probed_batch_size
from mtlue._fit.plan import FitPlan
from mtlue._fit.recipe import recipe_for
from mtlue._fit.schedule import Schedule
from mtlue._fit.surrogate_check import check_answers, check_loss, check_parameters
from mtlue._fit.training import GeneratorTraining
from mtlue._generator import UEGenerator
from mtlue._losses import BaseUELoss, Surrogate, borrowed, networks_of, restore_state, state_of
from mtlue._runtime import (
    Compute,
    ProgressOption,
    current_job,
    described,
    from_rank,
    gradients_on,
    is_main,
    moved,
    repeatable_convolutions,
    smallest,
    sole_owner,
    together,
)
from mtlue._tasks import tasks_to_config


def fit(
    generator: UEGenerator,
    dataset: Dataset[Any],
    surrogate: nn.Module | Surrogate,
    *,
    loss: BaseUELoss,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
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

    The training minimises base loss + lambda_intra * intra-ER + lambda_inter * inter-ER with Adam. If ``epochs``,
    ``learning_rate``, ``schedule`` or ``batch_size`` is None, the loss decides:

    * EM, TAP and SEP use the paper's 60 epochs. Their learning rate of 1e-3 falls to a tenth after 60 % of the training and to
      a hundredth after 80 % (A.2).
    * `mtlue.RestartedEM` uses the settings that it was measured with: batches of 64, and one cycle of the learning rate up to
      3e-3. The generator sees 64,000 images on a CPU, and four times as many on a GPU. It sees each image of a larger set once.
      If labels are maps: batches of 16, 20,000 images, and the paper's schedule from 3e-3.

    If the loss trains the surrogate (EM), the surrogate takes ``surrogate_steps`` steps after each epoch. The run ends once its
    accuracy on perturbed images reaches ``stop_accuracy``. On a stream it trains on the samples that follow the epoch, and its
    accuracy is measured on the first 512.

    If you call it on all ranks of a process group, they train one generator together, as one process with the same
    ``batch_size`` would. Every rank gets the generator and the history. Rank 0 shows the progress and writes the checkpoint.

    Args:
        generator: The generator. It is trained in place, and left in eval mode on the device where it was.
        dataset: Map-style set of pairs (image, targets), or a stream of them, such as an ``IterableDataset``, with
            ``steps_per_epoch``. The first 512 samples of a stream are inspected before the training and kept in memory. Each
            later sample is checked when it is read.
        surrogate: Module that takes images in [0, 1], or a `mtlue.Surrogate`. EM trains it in place. A loss that does not train
            it leaves every bit of it unchanged. Mode, device and ``requires_grad`` are always restored.
        loss: ``mtlue.RestartedEM()``, ``EM()``, ``REM()``, ``TAP()``, ``SEP(checkpoints)`` or your own.
        epochs: Passes over the data, at most. Fewer take less time and protect less.
        steps_per_epoch: Batches in an epoch. By default an epoch is a pass over the data. If you set it, an epoch begins where
            the last one ended. When the data end, they start anew, in a new order if they are map-style.
        batch_size: Samples in a step. If neither you nor the loss decides, as many as fit the device, at most 512, and few
            enough for 32 steps in an epoch. It is halved, with a warning, when memory runs out.
        learning_rate: Learning rate of Adam, for the generator and for EM's surrogate.
        schedule: A function from the share of the training that is done, in [0, 1), to a factor for the learning rate:
            `mtlue.evaluation.paper_schedule`, `one_cycle`, `dense_paper_schedule` for NYUv2, or your own.
        lambda_intra: Weight of equation 4.
        lambda_inter: Weight of equation 5.
        surrogate_steps: Steps of EM's surrogate after each epoch.
        stop_accuracy: Accuracy of EM's surrogate at which the run ends. Above 1 it never ends early.
        augment: Applied to perturbed batches before the surrogate sees them. It must keep batch, channels and dtype, and let
            gradients through. A plain function sees only images: it must not move pixels if labels are maps. A
            `mtlue.datasets.JointTransform` moves labels with the images. The random numbers of torch and of ``random`` are
            seeded for it.
        checkpoint: File for the state after each epoch, and every ten minutes in a longer one. If the file exists, the run
            resumes from it, and ends as an uninterrupted run would. A file that belongs to another data set (some samples are
            compared), to other arguments, or to a frozen surrogate with other weights is refused. So keep the surrogate in a
            file. A stream is read again from its start to where the run stopped, and must give the same samples in the same
            order whenever it is read.
        device: Where to compute. By default the surrogate's device if it has parameters, or else CUDA, MPS or the CPU.
        precision: ``torch.float32`` or ``torch.bfloat16`` (autocast). By default bfloat16 on a GPU that supports it.
        num_workers: Processes that read the data set. A stream is read by one at most.
        seed: Seed of the order and the augmentation. Equal seeds give equal generators on one device.
        progress: None shows a bar in a terminal if tqdm is installed, or else log lines. True and False force it on and off. A
            callable gets a dictionary of figures in each step.

    Returns:
        The figures of each epoch.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, the data set has faults (the message lists all of them), or the surrogate's
            answers do not fit the tasks.
        RuntimeError: the loss is no longer finite, or another rank of the process group did not come or has failed.
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
    check_source(dataset, steps_per_epoch)
    wrapped = check_models(generator, surrogate, loss)
    compute = Compute.checked(
        device=device,
        module=wrapped.module,
        precision=precision,
        num_workers=num_workers,
        seed=seed,
        progress=progress,
    )
    if not is_main():
        compute = replace(compute, progress=False)
    plan = recipe_for(loss, wrapped.tasks).plan(
        dataset,
        compute,
        epochs=epochs,
        steps_per_epoch=steps_per_epoch,
        batch_size=batch_size,
        learning_rate=learning_rate,
        schedule=schedule,
        lambda_intra=lambda_intra,
        lambda_inter=lambda_inter,
        surrogate_steps=surrogate_steps,
        stop_accuracy=stop_accuracy,
        augment=augment,
    )
    with together(compute.device), sole_owner(checkpoint if is_main() else None, argument="checkpoint"), gradients_on():
        inspection, samples = inspected(dataset, generator.tasks, generator.image_shape, num_workers=num_workers)
        check_channels(generator, inspection)
        return train_generator(generator, wrapped, loss, samples, plan, compute, checkpoint=checkpoint)


def check_models(generator: UEGenerator, surrogate: nn.Module | Surrogate, loss: BaseUELoss) -> Surrogate:
    """Check generator, surrogate and loss, and give the generator's tasks to the surrogate.

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
    """Check that a generator fits the channels of the images.

    Raises:
        ValueError: it was made for another number of channels.
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
    """Run `fit` on arguments that are already checked. ``epochs_here`` is how long this call has trained the surrogate.

    Raises:
        TypeError: the loss is not a scalar, or ``augment`` does not return images.
        ValueError: the surrogate does not answer the tasks, or no gradient reaches the images.
    """
    with moved(generator, compute.device), repeatable_convolutions():
        job = current_job()
        if job is not None:
            job.agree({"generator": generator.config(), "loss": described(loss), "tasks": tasks_to_config(surrogate.tasks)})
            _adopt_models(generator, surrogate, loss)
        check_answers(surrogate, loss, samples, compute, epochs_here=epochs_here)
        with borrowed(surrogate.module, device=compute.device, trainable=loss.trains_surrogate):
            batch_size = plan.batch_size or _fitting_batch_size(generator, surrogate, loss, samples, compute)
            # EM's surrogate also takes this many samples in a step, which cannot be more than the set has.
            batch_size = smallest(min(batch_size, samples.extent))
            settings = {}
            if checkpoint is not None or job is not None:
                own = {"generator": generator.config(), "loss": described(loss), "batch_size": batch_size}
                settings = run_settings(
                    samples, {**networks_of(loss, surrogate), **plan.settings(), **compute.settings(), **own}
                )
                if job is not None:
                    job.agree(settings)
            training = GeneratorTraining(generator, surrogate, loss, samples, plan, compute, batch_size)
            try:
                return training.run(Checkpoint(checkpoint, settings))
            finally:
                # The gradients of the last step would take as much memory as the weights.
                generator.zero_grad(set_to_none=True)


def _adopt_models(generator: UEGenerator, surrogate: Surrogate, loss: BaseUELoss) -> None:
    """Start with the weights of rank 0: models may have been made from other random numbers on each rank."""
    state = from_rank(
        0, lambda: {"generator": generator.state_dict(), "surrogate": surrogate.module.state_dict(), **state_of(loss)}
    )
    generator.load_state_dict(state["generator"])
    surrogate.module.load_state_dict(state["surrogate"])
    restore_state(loss, state)


def _fitting_batch_size(
    generator: UEGenerator, surrogate: Surrogate, loss: BaseUELoss, samples: Samples, compute: Compute
) -> int:
    generator.eval()

    def step(batch: Batch) -> Tensor:
        with compute.autocast():
            perturbed = Batch(generator.perturb(batch.images, batch.targets), batch.targets)
            return perturbed_loss(loss, surrogate, perturbed, batch.images, None)

    return probed_batch_size(step, samples, compute, loss=loss)
