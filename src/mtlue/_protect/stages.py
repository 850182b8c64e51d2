"""The stages of protecting a data set: surrogate, generator, images."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor, nn

from mtlue._data import Inspection, Samples, differentiable_jpeg
from mtlue._fit import (
    FitPlan,
    History,
    check_gradient,
    check_models,
    pretrain,
    recipe_for,
    train_generator,
)
from mtlue._formats import Images, WorkFolder
from mtlue._generator import UEGenerator, generation_batch_size
from mtlue._losses import BaseUELoss, RestartedEM, Surrogate
from mtlue._models import build_model, small_network, tasks_with_maps
from mtlue._protect.collecting import open_sink
from mtlue._protect.generation import Generation
from mtlue._runtime import Compute, Stream, load_tensors, random_numbers
from mtlue._tasks import Task

#: What the training of the generator keeps in the folder of a call.
FIT_CHECKPOINT = "fit.pt"

logger = logging.getLogger("mtlue.protect")


def through_jpeg(images: Tensor) -> Tensor:
    """Return images (B, C, H, W) as a JPEG file of quality 10 holds them. Unchanged if C is neither 1 nor 3."""
    return differentiable_jpeg(images, quality=10) if images.shape[1] in (1, 3) else images


def default_loss(tasks: Mapping[str, Task] = MappingProxyType({})) -> BaseUELoss:
    """Return the loss of a call that names none: networks that start anew, and a surrogate to mislead.

    If labels are maps, there is one network. Otherwise there are two, one of which sees images through JPEG.
    """
    if tasks_with_maps(tasks):
        return RestartedEM(misleading=1.0)
    return RestartedEM(count=2, distortions=[through_jpeg], misleading=1.0)


@dataclass(frozen=True)
class Models:
    """The models that a caller gave. Those that are None are made.

    Attributes:
        loss: The base loss.
        surrogate: The model that the generator is trained against.
        generator: An untrained generator.
        epsilon: Budget of a new generator.
    """

    loss: BaseUELoss
    surrogate: nn.Module | Surrogate | None
    generator: UEGenerator | None
    epsilon: float


def train_models(
    models: Models, samples: Samples, inspection: Inspection, plan: FitPlan, compute: Compute, folders: WorkFolder | None
) -> tuple[UEGenerator, History]:
    """Train the surrogate, if none is given and the loss needs a trained one, and then the generator.

    Args:
        models: The given models.
        samples: The data set.
        inspection: What reading the data set found.
        plan: The settings of both trainings.
        compute: Where and how to compute.
        folders: Folders with the state of an interrupted call. None if nothing is kept.
    """
    generator, surrogate, loss = models.generator, models.surrogate, models.loss
    recipe = recipe_for(loss, samples.tasks)
    with random_numbers(compute.seed_of(Stream.MODELS), torch.device("cpu")):
        if generator is None:
            generator = recipe.generator(samples.tasks, inspection.image_shape, epsilon=models.epsilon, device=compute.device)
    elected = make_surrogate(loss, samples.tasks, inspection.image_shape, compute) if surrogate is None else surrogate
    wrapped = check_models(generator, elected, loss)
    pretraining = recipe.surrogate_epochs(plan.epochs) if surrogate is None and not loss.trains_surrogate else 0
    if pretraining:
        # If a loss fails, it should fail before the hours that the surrogate takes.
        check_gradient(wrapped, loss, samples, plan.augment, compute)
        checkpoint = None if folders is None else folders.work / "surrogate.pt"
        pretrain(wrapped, samples, recipe.surrogate_plan(plan), compute, checkpoint=checkpoint)
    history = train_generator(
        generator,
        wrapped,
        loss,
        samples,
        plan,
        compute,
        checkpoint=None if folders is None else folders.work / FIT_CHECKPOINT,
        epochs_here=pretraining,
    )
    return generator, history


def make_surrogate(
    loss: BaseUELoss, tasks: Mapping[str, Task], image_shape: tuple[int, int, int], compute: Compute
) -> nn.Module:
    """Make an untrained surrogate for a caller who gives none."""
    # A seed of its own: with equal seeds, the surrogate must not get the initial weights of a victim.
    seed = compute.seed_of(Stream.MODELS)
    if recipe_for(loss, tasks).own_networks:
        return small_network(tasks, image_shape, seed=seed)
    # A ResNet with heads for maps takes eleven times as long.
    return build_model("unet" if tasks_with_maps(tasks) else "resnet18", tasks, image_shape=image_shape, seed=seed)


def trained_by_this_call(generator: UEGenerator, folders: WorkFolder | None) -> bool:
    """Return whether an interrupted attempt at this call has trained the generator, which was untrained when given.

    Raises:
        ValueError: the state of that attempt is damaged.
    """
    file = None if folders is None else folders.work / FIT_CHECKPOINT
    if file is None or not file.exists():
        return False
    content = load_tensors(file, argument="path", what="what an interrupted call leaves")
    if not isinstance(content, dict) or "generator" not in content.get("state", {}):
        raise ValueError(f"path: {file} is damaged; delete {file.parent}")
    state, own = content["state"]["generator"], generator.state_dict()
    return state.keys() == own.keys() and all(torch.equal(value, own[name].cpu()) for name, value in state.items())


def write_images(
    generation: Generation, shape: tuple[int, int, int] | None, batch_size: int | None, folders: WorkFolder | None
) -> Images:
    """Write all images, to memory or to the store.

    Args:
        generation: The generator, and the samples to perturb.
        shape: Shape of all images, or None if they differ.
        batch_size: Samples in a batch. None fits the device.
        folders: The folders to stream to, or None.
    """
    generator, selected, compute = generation.generator, generation.selected, generation.compute
    logger.info(
        "protect: perturbing %d of %d images, on %s in %s", selected.sum(), len(selected), compute.device, compute.precision
    )
    sink = open_sink(
        generation.samples,
        shape=shape,
        epsilon=generator.epsilon,
        batch_size=batch_size or generation_batch_size(generator, compute.device),
        folders=folders,
    )
    return sink.fill(lambda portion: generation.batches(portion, sink.batch_size))


def selected_samples(fraction: float, length: int, compute: Compute) -> Tensor:
    """Choose the samples to perturb, booleans of shape (N,). The seed decides."""
    selected = torch.zeros(length, dtype=torch.bool)
    order = torch.randperm(length, generator=compute.generator(Stream.FRACTION))
    selected[order[: round(fraction * length)]] = True
    return selected
