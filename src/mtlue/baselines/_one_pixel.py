"""One pixel for each class of each task."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from mtlue._checks import check_epsilon, check_seed
from mtlue._data import Samples, check_map_style, check_unprotected, inspect_dataset, to_bytes
from mtlue._protect import ProtectedDataset, WorkFolder, check_levels, largest_level
from mtlue._runtime import Stream, check_single_process, derived_seed
from mtlue._tasks import Task, Tasks, resolve_tasks
from mtlue.baselines._assemble import assemble
from mtlue.baselines._fusion import FusedPatterns
from mtlue.baselines._patterns import check_class_tasks, classes_by_task, only_image_shape

# All corners of the cube of colours are tried.
_MOST_CHANNELS = 8
_BATCH = 256
# A variance below that of one level, as at a border of one colour, counts as one level's.
_LEAST_VARIANCE = 1.0


def one_pixel_shortcut(
    dataset: Dataset[Any],
    *,
    tasks: Tasks,
    epsilon: float | None = None,
    path: str | os.PathLike[str] | None = None,
    seed: int = 0,
) -> ProtectedDataset[Tensor]:
    """Set one pixel of each image to one colour for each task, the same for all images of a class: OPS (Wu et al., 2023).

    The position and the colour of a class are searched in its images. Of all pixels and all colours whose channels are 0 or 1,
    the one is taken from which the images are far, and about equally far (One-Pixel Shortcut, ICLR 2023, section 3.3): the
    distance is the sum over channels of the absolute difference, and its mean over the images divided by its variance is
    largest. No two classes of a task get the same pixel and colour.

    For several tasks, mtlue looks for the pixels of one task after the other and gives no pixel to two tasks, so an image of K
    tasks changes in at most K pixels. If a label is missing, its task changes nothing.

    **This is not a method of small changes.** OPS bounds how many pixels change, not by how much. With ``epsilon=None``, the
    paper's form, a pixel may change by all 255 levels: the set's ``epsilon`` then is 1, and whoever looks closely sees the
    pixel. With an ``epsilon`` the pixel moves towards its colour by that much and no further, which is far weaker than in the
    paper, because images of a class then differ in the pixel again.

    Args:
        dataset: Map-style set of pairs (image, targets), as `mtlue.protect` takes it, all images of one size.
        tasks: Tasks by name, each with classes; an integer n means ``Classification(n)``.
        epsilon: Largest change of a pixel on the scale of [0, 1]; None for the paper's form without a bound.
        path: Folder to stream the images to, as in `mtlue.protect`; None keeps them in memory, as bytes.
        seed: Chooses between pixels that are equally good, as at a border of one colour. Equal seeds give equal bytes.

    Returns:
        The protected set. Its ``epsilon`` is the one that was given, in whole levels, or 1.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, the labels of a task are maps, the data set has faults, images of several sizes
            or of more than eight channels, or the images have too few pixels for the tasks.
        FileExistsError: ``path`` exists already.
        BlockingIOError: another call is writing to ``path``.
        NotImplementedError: called inside a process group of several ranks.

    Example:
        >>> import torch
        >>> from mtlue import baselines
        >>> dataset = [(torch.full((3, 16, 16), 0.25), {"age": i % 3, "smile": i % 2}) for i in range(6)]
        >>> safe = baselines.one_pixel_shortcut(dataset, tasks={"age": 3, "smile": 2})
        >>> safe
        ProtectedDataset(6 samples, tasks={'age': Classification(3), 'smile': Classification(2)}, epsilon=255/255)
        >>> [int((image != 64 / 255).any(dim=0).sum()) for image, _ in safe]
        [2, 2, 2, 2, 2, 2]
    """
    check_unprotected("dataset", check_map_style("dataset", dataset))
    resolved = resolve_tasks(tasks)
    check_class_tasks(resolved)
    if epsilon is not None:
        check_levels(check_epsilon("epsilon", epsilon))
    check_seed("seed", seed)
    check_single_process()
    with WorkFolder.claim(path) as folders:
        inspection = inspect_dataset(dataset, resolved)
        samples = Samples(dataset, resolved)
        shape = only_image_shape(inspection)
        _check_room(shape, resolved)
        limit = 1.0 if epsilon is None else largest_level(epsilon) / 255
        # The norm of all tasks' pixels together, which is then never exceeded.
        budget = limit * math.sqrt(len(resolved) * shape[0])
        parts = list(_parts(_Moments(samples, shape), resolved, seed))
        fused = FusedPatterns([part / math.sqrt(len(resolved) * shape[0]) for part in parts], budget)
        settings = {"baseline": "one_pixel_shortcut", "epsilon": epsilon, "seed": seed, "patterns": fused.digest()}
        return assemble(samples, inspection, fused.change(samples), epsilon=limit, folders=folders, settings=settings)


def _check_room(shape: tuple[int, int, int], tasks: Mapping[str, Task]) -> None:
    channels, height, width = shape
    if channels > _MOST_CHANNELS:
        raise ValueError(f"dataset: expected images of at most {_MOST_CHANNELS} channels, got {channels}")
    needed = sum(task.num_embeddings for task in tasks.values())
    if needed > height * width:
        raise ValueError(f"tasks: expected at most one class for each of {height} x {width} pixels, got {needed} classes")


class _Moments:
    """Number, sums and sums of products of the images of each class, in levels: exact, in whatever order they are added.

    Args:
        samples: The data set.
        shape: Shape (C, H, W) of its images.
    """

    def __init__(self, samples: Samples, shape: tuple[int, int, int]) -> None:
        channels, height, width = shape
        sizes = [task.num_embeddings for task in samples.tasks.values()]
        self._pairs = [(one, other) for one in range(channels) for other in range(one, channels)]
        self.channels, self.size = channels, (height, width)
        rows = channels + len(self._pairs)
        self._counts = torch.zeros(sum(sizes), dtype=torch.float64)
        self._sums = torch.zeros(sum(sizes), rows * height * width, dtype=torch.float64)
        for first in range(0, len(samples), _BATCH):
            read = [samples[index] for index in range(first, min(first + _BATCH, len(samples)))]
            images = torch.stack([to_bytes(image) for image, _ in read]).double()
            classes = classes_by_task(samples.read_labels([targets for _, targets in read]), samples.tasks)
            # Class -1, that of a missing label, is cut off.
            chosen = torch.cat(
                [F.one_hot(column + 1, size + 1)[:, 1:] for column, size in zip(classes.T, sizes, strict=True)], dim=1
            )
            products = torch.stack([images[:, one] * images[:, other] for one, other in self._pairs], dim=1)
            self._counts += chosen.sum(dim=0)
            self._sums += chosen.T.double() @ torch.cat([images, products], dim=1).flatten(1)

    def scores(self, row: int, colours: Tensor) -> Tensor:
        """Score each colour (V, C) of 0 and 1 at each pixel for a class, (V, H * W); 0 for a class without images."""
        count = self._counts[row].clamp_min(1)
        moments = (self._sums[row] / count).view(-1, *self.size)
        means, products = moments[: self.channels], moments[self.channels :]
        # The distance from a colour is the sum of the channels' values, counted from 0 or down from 255.
        signs = 1 - 2 * colours.double()
        distance = (signs @ means.flatten(1)) + 255 * colours.double().sum(dim=1, keepdim=True)
        variance = torch.zeros_like(distance)
        for (one, other), mean in zip(self._pairs, products, strict=True):
            covariance = (mean - means[one] * means[other]).flatten()
            variance += (1 + (one != other)) * (signs[:, one] * signs[:, other]).unsqueeze(1) * covariance
        return distance / variance.clamp_min(_LEAST_VARIANCE)


def _parts(moments: _Moments, tasks: Mapping[str, Task], seed: int) -> Iterator[Tensor]:
    """Yield for each task +1 or -1 in all channels of a class's pixel and 0 elsewhere, floats (C_k, C, H, W)."""
    channels, (height, width) = moments.channels, moments.size
    colours = torch.tensor(list(product((0, 1), repeat=channels)))
    taken = torch.zeros(height * width, dtype=torch.bool)
    row = 0
    for position, task in enumerate(tasks.values()):
        random = torch.Generator().manual_seed(derived_seed(seed, Stream.PATTERNS, position))
        free = (~taken).expand(len(colours), -1).flatten().clone()
        part = torch.zeros(task.num_embeddings, channels, height * width)
        for number in range(task.num_embeddings):
            scores = torch.where(free, moments.scores(row, colours).flatten(), -1.0)
            # The first of equally good ones in an order that is drawn.
            order = torch.randperm(len(scores), generator=random)
            best = int(order[scores[order].argmax()])
            free[best] = False
            colour, pixel = divmod(best, height * width)
            part[number, :, pixel] = 2.0 * colours[colour] - 1.0
            taken[pixel] = True
            row += 1
        yield part.view(-1, channels, height, width)
