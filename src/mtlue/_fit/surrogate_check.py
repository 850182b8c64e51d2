"""Check what a surrogate can do before anything is trained against it."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mtlue._data import Batch, Samples, Transform
from mtlue._fit.optimization import perturbed_loss
from mtlue._fit.recipe import recipe_for
from mtlue._losses import (
    BaseUELoss,
    Surrogate,
    borrowed,
    check_checkpoints,
    check_own_state,
    image_gradient,
    judged_surrogate,
    kept_state,
    trains_itself,
)
from mtlue._runtime import BatchSize, Compute, out_of_memory, random_numbers, warn
from mtlue._tasks import CheckedTargets

# More than luck reaches on the few hundred images of the check.
_CHANCE = 0.05
_LOOKED_AT, _LOOK = 256, 64
# With fewer labels the result depends more on luck than on skill.
_FEW_LABELS = 8


def check_loss(loss: object) -> BaseUELoss:
    """Return the loss if it follows the protocol.

    Raises:
        TypeError: it is not callable, is a class, or has no ``trains_surrogate``; its checkpoints are not networks; or its
            state cannot be saved or restored.
    """
    if isinstance(loss, type):
        raise TypeError(f"loss: expected an object such as mtlue.TAP(), got the class {loss.__name__}")
    if not callable(loss) or not hasattr(loss, "trains_surrogate"):
        raise TypeError(
            "loss: expected mtlue.EM(), TAP(), SEP(checkpoints), or a callable with an attribute trains_surrogate, "
            f"got {type(loss).__name__}"
        )
    chosen = cast("BaseUELoss", loss)
    check_checkpoints(getattr(loss, "checkpoints", None) or ())
    check_own_state(chosen)
    return chosen


def check_weights(module: nn.Module, *, argument: str, trained: bool = True) -> None:
    """Refuse a model that says nothing, or cannot learn.

    Args:
        module: The model.
        argument: What messages call it.
        trained: Whether it is to be trained.

    Raises:
        ValueError: it has no parameters, none to train, or some that have no values or none that are finite.
    """
    parameters = dict(module.named_parameters())
    if not parameters:
        raise ValueError(f"{argument}: expected a model with parameters, got a module that has none")
    lazy = [name for name, parameter in parameters.items() if is_lazy(parameter)]
    if lazy:
        raise ValueError(f"{argument}: its parameter {lazy[0]!r} has no shape yet; call the model with a batch of images first")
    if any(parameter.is_meta for parameter in parameters.values()):
        raise ValueError(f"{argument}: it is on the meta device, so it has no weights; load them first")
    if any(parameter.is_inference() for parameter in parameters.values()):
        raise ValueError(f"{argument}: it was made in torch.inference_mode(), where nothing can learn; make it outside")
    if trained and not any(parameter.requires_grad for parameter in parameters.values()):
        raise ValueError(
            f"{argument}: expected a model that can be trained, but none of its parameters has requires_grad=True; "
            "call requires_grad_() on it"
        )
    broken = [name for name, parameter in parameters.items() if not bool(parameter.detach().isfinite().all())]
    if broken:
        raise ValueError(f"{argument}: expected finite weights, but some of {broken[0]!r} are not; load or train it again")


def check_parameters(surrogate: Surrogate, loss: BaseUELoss) -> None:
    """Refuse a surrogate that the loss cannot use.

    Raises:
        ValueError: it has no parameters, none to train although the loss trains it, or some without a value; or the loss has it
            in its own state, where it would be frozen.
    """
    check_weights(surrogate.module, argument="surrogate", trained=loss.trains_surrogate)
    if not loss.trains_surrogate and trains_itself(loss, surrogate.module):
        name = type(loss).__name__
        raise ValueError(
            f"surrogate: {name} trains the same module, but as the surrogate it is frozen; give copy.deepcopy(surrogate)"
        )


def check_answers(surrogate: Surrogate, loss: BaseUELoss, samples: Samples, compute: Compute, *, epochs_here: int = 0) -> None:
    """Show a few clean images to the surrogate. Check that its answers fit the tasks, and that it is trained.

    Args:
        surrogate: The surrogate.
        loss: The loss to use with it.
        samples: The data set. Some samples are read.
        compute: Where and how to compute.
        epochs_here: For how many epochs this call has trained the surrogate itself.

    Warns:
        UserWarning: the loss needs a trained surrogate, and this one is no better than chance; or its answers look like
            probabilities.

    Raises:
        ValueError: it fails on the images, or its answers do not fit the tasks.
        TypeError: its answers are not made of tensors.
    """
    surrogate = judged_surrogate(loss, surrogate)
    skills = _Skills(surrogate)
    probabilities = set(surrogate.tasks)
    batch_size = BatchSize(_LOOK, quiet=True)

    @torch.no_grad()
    def look(part: Batch) -> dict[str, Tensor]:
        return surrogate.read(answer_of(surrogate, part.images))

    some = torch.randperm(len(samples), generator=torch.Generator().manual_seed(compute.seed))[:_LOOKED_AT].tolist()
    with borrowed(surrogate.module, device=compute.device, trainable=False):
        for start in range(0, len(some), _LOOK):
            for part, outputs in batch_size.run(look, samples.read(some[start : start + _LOOK], compute.device)):
                skills.add(outputs, part.targets)
                probabilities -= {name for name, task in surrogate.tasks.items() if not task.is_distribution(outputs[name])}
    for name in surrogate.tasks:
        if name in probabilities:
            warn(f"surrogate: output of task {name!r} looks like probabilities; give logits, without softmax")
    skill = skills.mean()
    needed = getattr(loss, "needs_trained_surrogate", False)
    if epochs_here and recipe_for(loss, surrogate.tasks).own_networks:
        # Its own networks teach it most. The check of the result will show whether they can learn the labels at all.
        needed = False
    if needed and skill is not None and skill < _CHANCE:
        if epochs_here:
            why = f"after {epochs_here} epochs of training by mtlue; give more epochs, or a surrogate that you have trained"
        else:
            signal = f"{type(loss).__name__} needs a surrogate that was trained on clean data"
            why = f"it looks untrained; {signal}"
        warn(f"surrogate: no better than chance on the clean data, {why}")


def check_gradient(
    surrogate: Surrogate, loss: BaseUELoss, samples: Samples, augment: Transform | None, compute: Compute
) -> None:
    """Try the loss of two clean images and its gradient, when the first real step comes much later.

    Raises:
        TypeError: the loss is not a scalar tensor, or ``augment`` does not return images.
        ValueError: the loss fails, no gradient reaches the images, or ``augment`` returns images of another form.
    """
    batch = samples.read(range(min(2, len(samples))), compute.device)
    leaf = batch.images.clone().requires_grad_(True)
    with (
        borrowed(surrogate.module, device=compute.device, trainable=False),
        kept_state(loss),
        random_numbers(compute.seed, compute.device),
    ):
        # A copy: perturbed images are not leaves either, and nothing may work in place on a leaf.
        perturbed = Batch(leaf.clone(), batch.targets)
        value = perturbed_loss(loss, surrogate, perturbed, batch.images, augment)
        # A loss can be a constant if labels of a batch are missing.
        if batch.all_labelled(surrogate.tasks):
            image_gradient(value, leaf)


def answer_of(surrogate: Surrogate, images: Tensor) -> object:
    """Return what the module of a surrogate answers, in any form.

    Raises:
        ValueError: it fails on the images.
    """
    module = surrogate.module
    try:
        return module(images)
    except Exception as error:
        if out_of_memory(error):
            raise
        others = {each.dtype for each in module.parameters() if each.is_floating_point()} - {images.dtype}
        cure = ""
        if others:
            cure = (
                f"; it has parameters of {', '.join(sorted(map(str, others)))}, images are float32: give net.float(), and "
                "precision=torch.bfloat16 for speed"
            )
        shape = tuple(images.shape)
        raise ValueError(
            f"{surrogate.argument}: failed on images of shape {shape}: {type(error).__name__}: {error}{cure}"
        ) from error


class _Skills:
    """Measure how far a surrogate's answers are above chance, over the tasks that the samples can judge.

    A task cannot be judged by labels of one class only, or by a handful of labels.

    Args:
        surrogate: The surrogate.
    """

    def __init__(self, surrogate: Surrogate) -> None:
        self._surrogate = surrogate
        self._seen: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in surrogate.tasks}
        self._of_maps: list[float] = []

    def add(self, outputs: dict[str, Tensor], targets: CheckedTargets) -> None:
        """Add the answers to some samples. Raises what `mean` raises."""
        for name, task in self._surrogate.tasks.items():
            output, target = outputs[name].float(), targets[name]
            if not task.is_map:
                self._seen[name].append((output.cpu(), target.cpu()))
            elif not bool(task.missing(target).all()):
                self._of_maps.append(self._skill(name, output, target))

    def mean(self) -> float | None:
        """Return the mean over the tasks, or None if none can be judged.

        Raises:
            ValueError: an answer does not fit the labels.
        """
        skills = list(self._of_maps)
        for name, pairs in self._seen.items():
            if pairs:
                output, target = (torch.cat(each) for each in zip(*pairs, strict=True))
                classes = self._surrogate.tasks[name].embedding_index(target)
                classes = classes[classes >= 0]
                skill = self._skill(name, output, target)
                if len(classes) >= min(_FEW_LABELS, len(target)) and len(classes.unique()) > 1:
                    skills.append(skill)
        return sum(skills) / len(skills) if skills else None

    def _skill(self, name: str, output: Tensor, target: Tensor) -> float:
        try:
            return self._surrogate.tasks[name].skill(output, target)
        except (IndexError, RuntimeError, ValueError) as error:
            shapes = f"shape {tuple(output.shape)} does not fit labels of shape {tuple(target.shape)}"
            raise ValueError(f"surrogate output of task {name!r}: {shapes}: {error}") from error
