"""The verb that trains a generator."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from mtlue._checks import check_count, check_number
from mtlue._data import (
    Inspection,
    Samples,
    Transform,
    checked_transform,
    images_digest,
    inspect_dataset,
    labels_digest,
    ordered_batches,
)
from mtlue._fit.checkpoint import Checkpoint
from mtlue._fit.history import History
from mtlue._fit.schedule import Schedule, epoch_rates, paper_schedule
from mtlue._fit.surrogate_check import check_answers, check_loss, check_parameters
from mtlue._fit.surrogate_identity import surrogate_checksums
from mtlue._fit.training import GeneratorTraining, Plan
from mtlue._generator import UEGenerator
from mtlue._losses import BaseUELoss, Surrogate, borrowed
from mtlue._losses.base import loss_value
from mtlue._runtime.device import (
    autocast,
    check_single_process,
    choose_device,
    choose_precision,
    derived_seed,
    random_numbers,
)
from mtlue._runtime.identity import described
from mtlue._runtime.memory import BatchSize, training_batch_size
from mtlue._runtime.progress import ProgressOption, check_progress

_PROBE = 3
# Digits of a checksum, which a message has to show.
_SHOWN = 12


def fit(
    generator: UEGenerator,
    dataset: Dataset[Any],
    surrogate: nn.Module | Surrogate,
    *,
    loss: BaseUELoss,
    epochs: int = 60,
    batch_size: int | None = None,
    learning_rate: float = 1e-3,
    schedule: Schedule = paper_schedule,
    lambda_intra: float = 20.0,
    lambda_inter: float = 100.0,
    surrogate_steps: int = 10,
    stop_accuracy: float = 0.99,
    augment: Transform | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    device: torch.device | str | None = None,
    precision: torch.dtype | None = None,
    num_workers: int = 0,
    seed: int = 0,
    progress: ProgressOption = None,
) -> History:
    """Train a generator against a surrogate (Algorithm 1).

    It minimises base loss + lambda_intra * intra-ER + lambda_inter * inter-ER with Adam, whose learning rate falls to a
    tenth after 60 % and to a hundredth after 80 % of the epochs, unless ``schedule`` says otherwise. A loss that trains the
    surrogate (EM) lets it take ``surrogate_steps`` steps after each epoch, and ends the run once its accuracy on perturbed
    images reaches ``stop_accuracy``.

    Args:
        generator: Trained in place, and left in eval mode on the device where it was.
        dataset: Map-style set of pairs (image, targets).
        surrogate: Module that sees images in [0, 1], or a `mtlue.Surrogate`. A frozen loss leaves it bit for bit as it was;
            EM trains it in place. Mode, device and ``requires_grad`` are put back in any case.
        loss: ``mtlue.EM()``, ``TAP()``, ``SEP(checkpoints)`` or one of your own.
        epochs: Passes over the data, at most.
        batch_size: Samples a step; if None at most 512, and as many as fit the device and leave an epoch 32 steps. When
            memory runs out it is halved with a warning.
        learning_rate: Adam's, for the generator and for EM's surrogate.
        schedule: Share of the training done, in [0, 1), to the share of the learning rate that the generator has in the epoch
            then begun; for NYUv2 the paper has `mtlue.evaluation.dense_paper_schedule`.
        lambda_intra: Weight of equation 4.
        lambda_inter: Weight of equation 5.
        surrogate_steps: Steps of EM's surrogate after each epoch.
        stop_accuracy: Accuracy of EM's surrogate at which the run ends; above 1 it never does.
        augment: Applied to perturbed batches before the surrogate sees them; it must keep batch, channels and dtype, and let
            gradients through. A function sees images alone, and must not move pixels where a task's labels are maps; a
            `mtlue.datasets.JointTransform` moves labels with the images. Random numbers from torch and ``random`` are seeded
            for it.
        checkpoint: File that holds the state after each epoch. If it exists the run goes on from there, and ends as an
            unbroken run would have. One of another data set (some of its samples are looked at), of other weights of a frozen
            surrogate or of other arguments is refused: keep a surrogate that was trained for this in a file.
        device: Where to compute; if None the surrogate's device, when it has parameters, else CUDA, MPS or CPU.
        precision: ``torch.float32`` or ``torch.bfloat16`` (autocast); if None bfloat16 on a GPU that has it.
        num_workers: Processes that read the data set.
        seed: Decides order and augmentation; equal seeds give equal generators on one device.
        progress: None for a bar in a terminal when tqdm is there, else log lines; True, False, or a callable that gets a
            dictionary of each step's figures.

    Returns:
        The figures of each epoch.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, the data set has faults (all are told at once), or the surrogate does not
            answer the tasks.
        NotImplementedError: called inside a process group of several ranks.
        RuntimeError: the loss is no longer finite.

    Example:
        >>> import torch, mtlue
        >>> images, labels = torch.rand(16, 1, 8, 8), torch.arange(16) % 2
        >>> dataset = torch.utils.data.TensorDataset(images, labels)
        >>> generator = mtlue.UEGenerator({"shape": 2}, (1, 8, 8), width=4)
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> mtlue.fit(generator, dataset, net, loss=mtlue.EM(), epochs=1, batch_size=8, progress=False)
        History(1 epochs, base_loss=...)
    """
    wrapped = check_models(generator, surrogate, loss)
    check_progress(progress)
    check_single_process()
    check_counts(epochs=epochs, batch_size=batch_size, num_workers=num_workers, seed=seed)
    epoch_rates(schedule, epochs)
    plan = Plan(
        epochs=epochs,
        learning_rate=check_number("learning_rate", learning_rate, above=0.0),
        schedule=schedule,
        lambda_intra=check_number("lambda_intra", lambda_intra),
        lambda_inter=check_number("lambda_inter", lambda_inter),
        surrogate_steps=check_count("surrogate_steps", surrogate_steps, minimum=0),
        stop_accuracy=check_number("stop_accuracy", stop_accuracy, above=0.0),
        augment=checked_transform(augment),
        device=(chosen := choose_device(device, wrapped.module)),
        precision=choose_precision(precision, chosen),
        num_workers=num_workers,
        seed=seed,
    )
    inspection = inspect_dataset(dataset, generator.tasks, num_workers=num_workers)
    return train_generator(
        generator, Samples(dataset, generator.tasks), inspection, wrapped, loss, plan, batch_size, checkpoint, progress
    )


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
        raise ValueError(f"surrogate: its tasks {surrogate.tasks} are not the generator's {generator.tasks}")
    wrapped = surrogate if isinstance(surrogate, Surrogate) else Surrogate(surrogate, generator.tasks)
    check_parameters(wrapped, loss)
    return wrapped


def check_channels(generator: UEGenerator, inspection: Inspection) -> None:
    """Check that a generator is made for images like these.

    Raises:
        ValueError: it is made for another number of channels.
    """
    if inspection.channels != generator.image_shape[0]:
        raise ValueError(f"generator: made for {generator.image_shape[0]} channels, the images have {inspection.channels}")


def check_counts(*, epochs: int, batch_size: int | None, num_workers: int, seed: int) -> None:
    """Check the integers that `fit` and `protect` share.

    Raises:
        TypeError: one is no integer.
        ValueError: one is too small.
    """
    check_count("epochs", epochs, minimum=1)
    check_count("num_workers", num_workers, minimum=0)
    check_count("seed", seed, minimum=0)
    if batch_size is not None:
        check_count("batch_size", batch_size, minimum=1)


def train_generator(
    generator: UEGenerator,
    samples: Samples,
    inspection: Inspection,
    surrogate: Surrogate,
    loss: BaseUELoss,
    plan: Plan,
    batch_size: int | None,
    checkpoint: str | os.PathLike[str] | None,
    progress: ProgressOption,
    *,
    epochs_here: int = 0,
) -> History:
    """`fit` on arguments that are already checked; ``epochs_here`` is for how long this call has trained the surrogate.

    Raises:
        TypeError: the loss is no scalar, or ``augment`` returns no images.
        ValueError: generator and images have different numbers of channels, the surrogate does not answer the tasks, or no
            gradient reaches the images.
    """
    check_channels(generator, inspection)
    size = None if inspection.uniform else (generator.image_shape[1], generator.image_shape[2])
    device = plan.device
    with moved(generator, device), torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        first = torch.randperm(len(samples), generator=torch.Generator().manual_seed(plan.seed))[:256].tolist()
        looked_at = ordered_batches(samples, first, batch_size=64, size=size, device=device, num_workers=0)
        check_answers(surrogate, loss, looked_at, device, epochs_here=epochs_here)
        with borrowed(surrogate.module, device=device, trainable=loss.trains_surrogate):
            if batch_size is None:
                batch_size = _fitting_batch_size(generator, surrogate, loss, samples, size, plan)
            training = GeneratorTraining(
                generator, surrogate, loss, samples, size=size, plan=plan, batch_size=BatchSize(batch_size)
            )
            settings = {} if checkpoint is None else _settings(training, batch_size)
            return training.run(Checkpoint(checkpoint, settings), progress)


def _settings(training: GeneratorTraining, batch_size: int) -> dict[str, Any]:
    """What determines the result of a run, as a checkpoint holds it."""
    plan, samples = training.plan, training.samples
    rates = hashlib.sha256(repr(training.rates).encode()).hexdigest()
    checksums = {
        "images": images_digest(samples.dataset),
        "labels": labels_digest(samples.dataset, samples.tasks),
        **surrogate_checksums(training.surrogate, training.loss),
    }
    return {
        "generator": training.generator.config(),
        "loss": described(training.loss),
        "samples": len(samples),
        **{f"checksum of the {name}": digest[:_SHOWN] for name, digest in checksums.items()},
        "batch_size": batch_size,
        **{name: value for name, value in vars(plan).items() if name not in ("device", "num_workers")},
        "augment": None if plan.augment is None else described(plan.augment),
        # Two functions may have one name.
        "schedule": f"{described(plan.schedule)}, checksum {rates[:_SHOWN]}",
        "precision": str(plan.precision),
    }


def _fitting_batch_size(
    generator: UEGenerator,
    surrogate: Surrogate,
    loss: BaseUELoss,
    samples: Samples,
    size: tuple[int, int] | None,
    plan: Plan,
) -> int:
    """Batch size from the memory that a training step takes for each sample."""
    generator.eval()

    def step_of(count: int) -> Callable[[], object]:
        order = [index % len(samples) for index in range(count)]
        batches = ordered_batches(samples, order, batch_size=count, size=size, device=plan.device, num_workers=0)
        images, targets = next(iter(batches))

        def step() -> object:
            with autocast(plan.device, plan.precision):
                return loss_value(loss, surrogate, generator.perturb(images, targets), targets)

        return step

    with random_numbers(derived_seed(plan.seed, _PROBE), plan.device):
        return training_batch_size(step_of, plan.device, length=len(samples))


@contextmanager
def moved(module: nn.Module, device: torch.device) -> Iterator[None]:
    """Have a module on a device while this context lasts."""
    home = next(module.parameters()).device
    module.to(device)
    try:
        yield
    finally:
        module.to(home)
