"""A trained generator on batches that another library hands it, and on streams."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from mtlue._checks import check_count, check_task_names, naming
from mtlue._data import Samples, check_unprotected, checked_image, checked_sample, to_bytes, to_unit_floats
from mtlue._generator.rounding import add_to_images
from mtlue._runtime import Compute, fitting_batch_size, power_of_two, repeatable_convolutions
from mtlue._tasks import is_array

if TYPE_CHECKING:
    from mtlue._generator.generator import UEGenerator

_LARGEST_BATCH = 256
# The largest feature map of a batch takes at most this much, so that it stays in a processor's cache. Without that bound
# generation was up to half as fast.
_CACHED_BYTES = 2**23


class OnBatches:
    """What `UEGenerator.on_batches` returns: protects the images of one batch after the other.

    It can be pickled, and holds a copy of the generator: keep it as you keep the key.

    Args:
        generator: A trained one.
        image: Column of the images.
        columns: Column of the labels of each task.
        protected_tasks: Tasks to make unlearnable, all if None.
        compute: Where and how to compute; None chooses where the first batch comes.
    """

    def __init__(
        self,
        generator: UEGenerator,
        *,
        image: str,
        columns: Mapping[str, str],
        protected_tasks: Collection[str] | None,
        compute: Compute | None,
    ) -> None:
        self._generator = copy.deepcopy(generator).eval()
        self._image, self._columns, self._protected_tasks, self._given = image, dict(columns), protected_tasks, compute
        self._tables: Tensor | None = None
        self._compute: Compute | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to the device of this process, whose own generator stays where it is."""
        return {**self.__dict__, "_generator": copy.deepcopy(self._generator).cpu(), "_tables": None, "_compute": None}

    def __call__(self, batch: Mapping[str, Any], rank: int | None = None) -> dict[str, Any]:
        """The batch with its images protected.

        Args:
            batch: Columns by name: lists, arrays or tensors of equal length. Images are PIL images, arrays (H, W, C) or (H, W),
                or tensors (C, H, W), and come back in the same form.
            rank: Number of the process, which chooses among the GPUs of a machine.

        Raises:
            KeyError: there is no such column.
            TypeError: an image or a label is nothing that is one.
            ValueError: an image or a label cannot be used.
        """
        pairs, forms = [], []
        for index, image in enumerate(batch[self._image]):
            with naming(f"{self._image}: sample {index} of the batch"):
                read, form = _read(image, self._generator.image_shape[0])
            pairs.append((read, {name: batch[column][index] for name, column in self._columns.items()}))
            forms.append(form)
        protected = [form(image) for form, image in zip(forms, self.protect(pairs, rank=rank), strict=True)]
        return {**batch, self._image: _as_column(batch[self._image], protected)}

    def protect(self, pairs: Sequence[tuple[Tensor, Any]], *, rank: int | None = None) -> list[Tensor]:
        """The 8-bit images of some samples, protected.

        Args:
            pairs: Images as `read_image` gives them, and their targets.
            rank: As above.
        """
        compute = self._start(rank)
        generator, chunk = self._generator, generation_batch_size(self._generator, compute.device)
        shapes = {image.shape for image, _ in pairs}
        samples = Samples(
            cast("Any", pairs), generator.tasks, size=None if len(shapes) == 1 else cast("Any", generator.image_shape[1:])
        )
        images: list[Tensor] = []
        with torch.no_grad(), repeatable_convolutions():
            if self._tables is None:
                with compute.autocast():
                    self._tables = generator.spread_tables()
            with generator.reuse_tables(self._tables):
                for start in range(0, len(pairs), chunk):
                    indices = range(start, min(start + chunk, len(pairs)))
                    read = samples.read(indices, compute.device)
                    with compute.autocast():
                        deltas = generator(read.images, read.targets, protected_tasks=self._protected_tasks)
                    images += add_to_images([to_bytes(pairs[index][0]) for index in indices], deltas, generator.epsilon)
        return images

    def _start(self, rank: int | None) -> Compute:
        if self._compute is None:
            device = f"cuda:{rank % torch.cuda.device_count()}" if rank is not None and torch.cuda.is_available() else None
            self._compute = self._given or Compute.checked(device=device)
            self._generator.to(self._compute.device)
        return self._compute


class Engines:
    """What a generator offers to those who bring their own batches."""

    def on_batches(
        self,
        *,
        image: str = "image",
        columns: Mapping[str, str] | None = None,
        protected_tasks: Collection[str] | None = None,
        device: torch.device | str | None = None,
        precision: torch.dtype | None = None,
    ) -> OnBatches:
        """A function that protects batches of arrays, for Ray Data's ``map_batches`` and Hugging Face's ``map``.

        It can be pickled. Its images are those of `mtlue.protect` with the same generator. Both libraries take it as it is:
        ``rows.map(function, batched=True, with_rank=True)``, ``data.map_batches(function, batch_format="numpy")``.

        Args:
            image: Column of the images: PIL images, arrays (H, W, C) or (H, W), or tensors (C, H, W).
            columns: Column of the labels of a task, where that is not the task's name.
            protected_tasks: Tasks to make unlearnable, all if None.
            device: Where to compute; if None the GPU whose number is the rank that Hugging Face gives, else CUDA, MPS or CPU.
            precision: As in `mtlue.protect`.

        Raises:
            ValueError: the generator is not trained, or a name is unknown.

        Example:
            >>> import numpy, mtlue
            >>> generator = mtlue.UEGenerator({"smiling": 2}, (3, 8, 8), width=4)
            >>> generator.trained = True  # as after mtlue.fit, or UEGenerator.load
            >>> protect = generator.on_batches(columns={"smiling": "smile"}, device="cpu")
            >>> batch = {"image": numpy.zeros((2, 8, 8, 3), "uint8"), "smile": [0, 1], "id": [7, 8]}
            >>> safe = protect(batch)
            >>> safe["image"].shape, safe["image"].dtype, safe["id"]
            ((2, 8, 8, 3), dtype('uint8'), [7, 8])
        """
        generator = _trained(self)
        check_task_names("columns", None if columns is None else list(columns), generator.tasks)
        check_task_names("protected_tasks", protected_tasks, generator.tasks)
        chosen = {name: columns[name] if columns is not None and name in columns else name for name in generator.tasks}
        compute = None if device is None and precision is None else Compute.checked(device=device, precision=precision)
        return OnBatches(generator, image=image, columns=chosen, protected_tasks=protected_tasks, compute=compute)

    def on_stream(
        self,
        stream: Iterable[Any],
        *,
        batch_size: int = 64,
        protected_tasks: Collection[str] | None = None,
        device: torch.device | str | None = None,
        precision: torch.dtype | None = None,
    ) -> Iterator[tuple[Tensor, Any]]:
        """Protect samples as they come, such as those of an ``IterableDataset``: one pass, whatever its length.

        Args:
            stream: Pairs (image, targets), in the forms that `mtlue.protect` takes.
            batch_size: Samples at once.
            protected_tasks: Tasks to make unlearnable, all if None.
            device: Where to compute; if None CUDA, MPS or CPU.
            precision: As in `mtlue.protect`.

        Returns:
            Protected images in [0, 1] with their targets, as an iterator.

        Raises:
            ValueError: the generator is not trained, a name is unknown, or the stream is protected; later: a bad sample comes.
            TypeError: while it runs: an image or a label is nothing that is one.

        Example:
            >>> import torch, mtlue
            >>> generator = mtlue.UEGenerator({"smiling": 2}, (3, 8, 8), width=4)
            >>> generator.trained = True  # as after mtlue.fit, or UEGenerator.load
            >>> stream = ((torch.rand(3, 8, 8), {"smiling": index % 2}) for index in range(5))
            >>> [targets["smiling"] for _, targets in generator.on_stream(stream, batch_size=2)]
            [0, 1, 0, 1, 0]
        """
        check_count("batch_size", batch_size, minimum=1)
        check_unprotected("stream", stream)
        function = Engines.on_batches(self, protected_tasks=protected_tasks, device=device, precision=precision)
        return _protected(iter(stream), function, batch_size)


def _protected(samples: Iterator[Any], function: OnBatches, batch_size: int) -> Iterator[tuple[Tensor, Any]]:
    count = 0
    while items := list(islice(samples, batch_size)):
        pairs = []
        for index, item in enumerate(items, start=count):
            with naming(f"stream: sample {index}"):
                pairs.append(checked_sample(item))
        count += len(items)
        images = function.protect(pairs)
        yield from ((to_unit_floats(image), targets) for image, (_, targets) in zip(images, pairs, strict=True))


def _trained(generator: Any) -> UEGenerator:
    if not generator.trained:
        raise ValueError("generator: expected a trained one; train it with mtlue.fit, or load one with mtlue.UEGenerator.load")
    return cast("UEGenerator", generator)


def _read(image: Any, channels: int) -> tuple[Tensor, Callable[[Tensor], Any]]:
    """An image (C, H, W), and what brings one of 8 bits into the form of the given one."""
    if not is_array(image):
        form: Callable[[Tensor], Any] = (lambda safe: safe) if isinstance(image, Tensor) else to_pil_image
        return checked_image(image), form
    # A copy: the arrays of other libraries may not be written to.
    values = torch.tensor(image)
    if values.ndim == 3 and values.shape[-1] == channels:
        return checked_image(values.permute(2, 0, 1)), lambda safe: safe.permute(1, 2, 0).contiguous().numpy()
    if values.ndim == 2:
        return checked_image(values), lambda safe: safe[0].numpy()
    return checked_image(values), lambda safe: safe.numpy()


def _as_column(given: Any, images: list[Any]) -> Any:
    """Images in a column of the given kind: an array, a tensor, or a list."""
    if isinstance(given, Tensor):
        return torch.stack(images)
    if not is_array(given):
        return images
    import numpy as np

    if given.ndim > 1:
        return np.stack(images)
    column = np.empty(len(images), dtype=object)
    column[:] = images
    return column


def generation_batch_size(generator: UEGenerator, device: torch.device) -> int:
    """Return a batch size for generation without gradients, when only a few full-size feature maps are alive."""
    height, width = generator.image_shape[1:]
    fit = fitting_batch_size(4 * 8 * generator.width * height * width, device)
    if device.type == "cpu":
        fit = min(fit, power_of_two(_CACHED_BYTES // (4 * generator.width * height * width)))
    return min(_LARGEST_BATCH, fit)
