"""Where in an image a model looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mtlue._data import check_images
from mtlue._losses import Surrogate, borrowed
from mtlue._runtime import choose_device, require
from mtlue._tasks import Task, Tasks
from mtlue.analysis._layers import check_layer, only_answer, recorded


def gradcam(
    model: nn.Module,
    images: Tensor,
    *,
    tasks: Tasks,
    task: str,
    layer: nn.Module,
    classes: Tensor | None = None,
) -> Tensor:
    r"""Map where a model looks for a task, by GradCAM (figure 8).

    With the activations A, (F, h, w), of the layer and the logit s of a class, the map is

    .. math:: \mathrm{ReLU}\Big(\sum_f \Big(\tfrac{1}{hw} \sum_{ij} \frac{\partial s}{\partial A_{fij}}\Big) A_f\Big),

    resized to the image and divided by its maximum. It is 0 everywhere if nothing speaks for the class. For two classes, s is
    the difference of their logits; a model with a single logit has that too.

    The model runs in eval mode; its mode and gradients are restored.

    Args:
        model: Answers in any form that `mtlue.Surrogate` can read.
        images: Floats in [0, 1], (B, C, H, W).
        tasks: All tasks that the model answers, by name; an integer n means ``Classification(n)``.
        task: Name of the classification task to look at.
        layer: A part of the model that gives (B, F, h, w), in general the last convolutional block.
        classes: Labels (B,) to explain. If None, the classes that the model predicts.

    Returns:
        Shape (B, H, W), in [0, 1], on the device of the images.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the task is unknown or not a classification; the layer is not part of the model, does not run exactly once,
            returns another shape or has no influence on the task; a class is out of range; images are not in [0, 1].
        ImportError: Captum is not installed.

    Example:
        >>> import torch
        >>> from mtlue import analysis
        >>> model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 5))
        >>> analysis.gradcam(model, torch.rand(4, 3, 8, 8), tasks={"race": 5}, task="race", layer=model[1]).shape
        torch.Size([4, 8, 8])
    """
    surrogate = Surrogate(model, tasks)
    check_layer(model, layer)
    check_images("images", images)
    count = _classes_of(surrogate.tasks, task)
    chosen = None if classes is None else _check_classes(classes, len(images), count)
    layer_gradcam = require("captum.attr", extra="analysis").LayerGradCam
    device = choose_device(None, model)

    def scores(batch: Tensor) -> Tensor:
        logits = surrogate(batch)[task]
        return logits - logits.flip(1) if count == 2 else logits

    with borrowed(model, device=device, trainable=False):
        inputs = images.detach().to(device).clone().requires_grad_()
        with torch.no_grad(), recorded(layer) as answers:
            predicted = scores(inputs).argmax(dim=1)
        shape = tuple(only_answer(answers).shape)
        if len(shape) != 4:
            raise ValueError(f"layer: expected one that gives (B, F, h, w), got {shape}")
        target = predicted if chosen is None else chosen.to(device)
        with _told_of_influence(task):
            maps = layer_gradcam(scores, layer).attribute(inputs, target=target, relu_attributions=True)
    maps = F.interpolate(maps.detach().float(), size=images.shape[-2:], mode="bilinear").squeeze(1)
    peaks = maps.amax(dim=(1, 2), keepdim=True)
    return torch.where(peaks > 0, maps / peaks, 0.0).to(images.device)


@contextmanager
def _told_of_influence(task: str) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if "not have been used in the graph" not in str(error):
            raise
        raise ValueError(f"layer: it has no influence on the task {task!r}") from error


def _classes_of(tasks: dict[str, Task], name: str) -> int:
    if name not in tasks:
        raise ValueError(f"task: unknown {name!r}; the tasks are {list(tasks)}")
    if tasks[name].is_map:
        raise ValueError(f"task: expected a classification of whole images, {name!r} is {tasks[name]!r}")
    return tasks[name].num_embeddings


def _check_classes(classes: Tensor, images: int, count: int) -> Tensor:
    if not isinstance(classes, Tensor) or classes.is_floating_point() or classes.is_complex() or classes.dtype == torch.bool:
        got = str(classes.dtype) if isinstance(classes, Tensor) else type(classes).__name__
        raise TypeError(f"classes: expected a tensor of integers, got {got}")
    if classes.shape != (images,):
        raise ValueError(f"classes: expected one for each of {images} images, shape (B,), got {tuple(classes.shape)}")
    wrong = classes[(classes < 0) | (classes >= count)]
    if len(wrong):
        raise ValueError(f"classes: expected integers from 0 to {count - 1}, got {int(wrong[0])}")
    return classes.long()
