"""Class-wise shortcut patterns for several tasks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mtlue._checks import check_number, check_seed, naming
from mtlue._data import Samples, check_map_style, check_unprotected, inspect_dataset
from mtlue._protect import ProtectedDataset, WorkFolder
from mtlue._runtime import Stream, check_single_process, derived_seed, warn
from mtlue._tasks import Task, Tasks, resolve_tasks
from mtlue.baselines._assemble import assemble
from mtlue.baselines._fusion import Draw, FusedPatterns, Fusion
from mtlue.baselines._patterns import Patterns, check_class_tasks, only_image_shape, unit_norm

_BUDGET_SIDE = 32


def shortcut(
    dataset: Dataset[Any],
    *,
    tasks: Tasks,
    patterns: Patterns,
    fusion: Fusion,
    budget: float = 1.0,
    path: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> ProtectedDataset[Tensor]:
    """Add predefined patterns of its classes to each image: unlearnable examples without a surrogate (appendix A.1).

    Each class of each task has one pattern. The patterns of an image's classes are fused into one perturbation of 8-bit levels.
    If a label is missing, its task adds nothing.

    The budget is an l2 norm, not a bound on a pixel. It applies to an image of 32x32 pixels, and grows with both sides as in
    the paper, to ``budget * H/32 * W/32``: at 32x32x3 and budget 1 the root mean square of the change is 4.6 levels, at 70x70x3
    already 10 and at 224x224x3 it is 32. To keep the root mean square of 32x32, give ``budget=32 / sqrt(H * W)``. The
    perturbation is held to the budget before it is rounded to the nearest levels, which may move the norm by a little.

    Args:
        dataset: Map-style set of pairs (image, targets), as `mtlue.protect` takes it, all images of one size.
        tasks: Tasks by name, all with classes. An integer n means ``Classification(n)``.
        patterns: `LSP`, `AR`, or a function of your own ``patterns(num_classes, shape, generator)`` that returns a pattern for
            each class, floats (num_classes, C, H, W). Their scale does not matter.
        fusion: `patch_fusion`, `average_fusion`, or a function of your own like them.
        budget: l2 norm of the perturbation of an image of 32x32 pixels in [0, 1].
        path: Folder to stream the images to, as in `mtlue.protect`; None keeps them in memory, as bytes.
        seed: Equal seeds give equal bytes.

    Returns:
        The protected set. Its ``epsilon`` is the largest change of a pixel over all combinations of classes.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, the labels of a task are maps (the paper does not apply LSP or AR to them,
            appendix A.1), the data set has faults or images of several sizes, or ``patterns`` or ``fusion`` returns something
            unexpected.
        FileExistsError: ``path`` already exists.
        BlockingIOError: another call is writing to ``path``.
        NotImplementedError: called inside a process group of several ranks.

    Example:
        >>> import torch
        >>> from mtlue import baselines
        >>> dataset = [(torch.full((3, 16, 16), 0.5), {"age": i % 3, "smile": i % 2}) for i in range(6)]
        >>> tasks = {"age": 3, "smile": 2}
        >>> safe = baselines.shortcut(dataset, tasks=tasks, patterns=baselines.LSP(), fusion=baselines.patch_fusion)
        >>> safe
        ProtectedDataset(6 samples, tasks={'age': Classification(3), 'smile': Classification(2)}, epsilon=3/255)
    """
    check_unprotected("dataset", check_map_style("dataset", dataset))
    resolved = resolve_tasks(tasks)
    check_class_tasks(resolved)
    for name, value, known in (("patterns", patterns, "LSP() or AR()"), ("fusion", fusion, "patch_fusion or average_fusion")):
        if isinstance(value, type) or not callable(value):
            raise TypeError(f"{name}: expected {known} of mtlue.baselines, or a function like them, got {value!r}")
    check_number("budget", budget, above=0.0)
    check_seed("seed", seed)
    check_single_process()
    with WorkFolder.claim(path) as folders:
        inspection = inspect_dataset(dataset, resolved)
        samples = Samples(dataset, resolved)
        shape = only_image_shape(inspection)
        seeds = [derived_seed(seed, Stream.PATTERNS, k) for k in range(len(resolved))]
        draws = [_draw(patterns, task.num_embeddings, each) for task, each in zip(resolved.values(), seeds, strict=True)]
        parts = _check_parts(fusion(draws, shape), resolved, shape)
        fused = FusedPatterns(parts, budget * shape[1] / _BUDGET_SIDE * shape[2] / _BUDGET_SIDE)
        if not fused.epsilon:
            warn(f"budget: {budget:.4g} changes no pixel by half a level of 1/255: stored images will not change")

        settings = {"baseline": "shortcut", "budget": budget, "seed": seed, "patterns": fused.digest()}
        return assemble(samples, inspection, fused.change(samples), epsilon=fused.epsilon, folders=folders, settings=settings)


def _draw(patterns: Patterns, num_classes: int, seed: int) -> Draw:
    def draw(shape: tuple[int, int, int]) -> Tensor:
        with naming("patterns"):
            drawn = patterns(num_classes, shape, torch.Generator().manual_seed(seed))
        _check_floats("patterns", drawn, (num_classes, *shape))
        if not bool(drawn.flatten(1).any(dim=1).all()):
            raise ValueError("patterns: expected patterns that change something, got one that is 0 everywhere")
        return unit_norm(drawn.detach().cpu().float())

    return draw


def _check_parts(parts: object, tasks: Mapping[str, Task], shape: tuple[int, int, int]) -> list[Tensor]:
    if not isinstance(parts, Sequence) or len(parts) != len(tasks):
        got = f"{len(parts)}" if isinstance(parts, Sequence) else type(parts).__name__
        raise ValueError(f"fusion: expected it to return a list of {len(tasks)} tensors, one for each task, got {got}")
    for part, task in zip(parts, tasks.values(), strict=True):
        _check_floats("fusion", part, (task.num_embeddings, *shape))
    return [part.detach().cpu().float() for part in parts]


def _check_floats(name: str, values: object, shape: tuple[int, ...]) -> None:
    if not isinstance(values, Tensor) or not values.is_floating_point() or tuple(values.shape) != shape:
        got = f"{values.dtype} of shape {tuple(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"{name}: expected it to return floats of shape {shape}, got {got}")
    if not bool(values.isfinite().all()):
        raise ValueError(f"{name}: expected it to return finite values, got NaN or infinity")
