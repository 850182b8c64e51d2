"""The stages of protecting a data set: surrogate, generator, images."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mtlue._data import Inspection, Samples
from mtlue._fit.fit import check_models, moved, train_generator
from mtlue._fit.history import History
from mtlue._fit.schedule import paper_schedule
from mtlue._fit.surrogate_check import check_gradient
from mtlue._fit.training import Plan
from mtlue._formats import Images
from mtlue._generator import UEGenerator
from mtlue._losses import BaseUELoss, Surrogate
from mtlue._protect.collecting import collect_images
from mtlue._protect.default_surrogate import ResNet18Surrogate, pretrain, random_shift
from mtlue._protect.generation import protected_images
from mtlue._protect.work_folder import WorkFolder
from mtlue._runtime.device import derived_seed, random_numbers
from mtlue._runtime.memory import fitting_batch_size
from mtlue._runtime.progress import Progress, ProgressOption

_MODELS, _FRACTION = 5, 6
#: What training the generator keeps in the folder of a call.
FIT_CHECKPOINT = "fit.pt"

logger = logging.getLogger("mtlue.protect")


@dataclass(frozen=True)
class Call:
    """What the stages of one call share."""

    samples: Samples
    inspection: Inspection
    epochs: int
    batch_size: int | None
    device: torch.device
    precision: torch.dtype
    num_workers: int
    seed: int
    progress: ProgressOption

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, and the typical height and width."""
        return (self.inspection.channels, *self.inspection.typical_size)


def train_models(
    call: Call,
    generator: UEGenerator | None,
    surrogate: nn.Module | Surrogate | None,
    loss: BaseUELoss,
    epsilon: float,
    folders: WorkFolder | None,
) -> tuple[UEGenerator, History]:
    """Train what has to be trained: a surrogate if there is none and the loss needs it trained, then the generator."""
    samples, inspection = call.samples, call.inspection
    with random_numbers(derived_seed(call.seed, _MODELS), torch.device("cpu")):
        if generator is None:
            generator = UEGenerator(samples.tasks, call.image_shape, epsilon=epsilon)
        elected = ResNet18Surrogate(samples.tasks, inspection.channels) if surrogate is None else surrogate
    wrapped = check_models(generator, elected, loss)
    # A label map would have to move with its image.
    movable = all(task.num_embeddings for task in samples.tasks.values())
    augment = random_shift if movable else None
    pretrained = surrogate is None and not loss.trains_surrogate
    if pretrained:
        size = None if inspection.uniform else (generator.image_shape[1], generator.image_shape[2])
        # A loss that fails is to fail before the hours that the surrogate takes.
        check_gradient(wrapped, loss, samples, size=size, augment=augment, device=call.device, seed=call.seed)
        pretrain(
            wrapped,
            samples,
            size=size,
            epochs=call.epochs,
            batch_size=call.batch_size,
            augment=augment,
            device=call.device,
            precision=call.precision,
            num_workers=call.num_workers,
            seed=call.seed,
            checkpoint=None if folders is None else folders.work / "surrogate.pt",
            progress=call.progress,
        )
    plan = Plan(
        epochs=call.epochs,
        learning_rate=1e-3,
        schedule=paper_schedule,
        lambda_intra=20.0,
        lambda_inter=100.0,
        surrogate_steps=10,
        stop_accuracy=0.99,
        augment=augment,
        device=call.device,
        precision=call.precision,
        num_workers=call.num_workers,
        seed=call.seed,
    )
    checkpoint = None if folders is None else folders.work / FIT_CHECKPOINT
    history = train_generator(
        generator,
        samples,
        inspection,
        wrapped,
        loss,
        plan,
        call.batch_size,
        checkpoint,
        call.progress,
        epochs_here=call.epochs if pretrained else 0,
    )
    return generator, history


def write_images(
    call: Call, generator: UEGenerator, protected: Collection[str], fraction: float, folders: WorkFolder | None
) -> Images:
    """Write all images, to memory or to the store."""
    length = call.inspection.length
    random = torch.Generator().manual_seed(derived_seed(call.seed, _FRACTION))
    selected = torch.zeros(length, dtype=torch.bool)
    selected[torch.randperm(length, generator=random)[: round(fraction * length)]] = True
    logger.info("protect: perturbing %d of %d images, on %s in %s", selected.sum(), length, call.device, call.precision)

    def batches(start: int, batch_size: int) -> Iterator[list[Tensor]]:
        return _generated(call, generator, selected, protected, start, batch_size)

    return collect_images(
        batches,
        call.samples,
        shape=call.image_shape if call.inspection.uniform else None,
        epsilon=generator.epsilon,
        batch_size=call.batch_size or _generation_batch_size(generator, call.device),
        folders=folders,
    )


def _generated(
    call: Call, generator: UEGenerator, selected: Tensor, protected: Collection[str], start: int, batch_size: int
) -> Iterator[list[Tensor]]:
    """Protected batches from sample ``start`` on, with the generator on the device meanwhile."""
    total = -(-len(call.samples) // batch_size)
    generator.eval()
    with (
        moved(generator, call.device),
        torch.backends.cudnn.flags(deterministic=True, benchmark=False),
        Progress(call.progress, stage="protect", total=total, images=len(call.samples)) as shown,
    ):
        shown.skip(start // batch_size, start)
        for images in protected_images(
            generator,
            call.samples,
            call.inspection,
            start=start,
            selected=selected,
            protected_tasks=protected,
            batch_size=batch_size,
            device=call.device,
            precision=call.precision,
            num_workers=call.num_workers,
        ):
            yield images
            shown.step(len(images), dict)


def _generation_batch_size(generator: UEGenerator, device: torch.device) -> int:
    # Without gradients a handful of full-size feature maps are alive at once.
    height, width = generator.image_shape[1:]
    return min(256, fitting_batch_size(4 * 8 * generator.width * height * width, device))
