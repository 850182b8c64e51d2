"""Run a trained generator over a data set."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from mtlue._data import Batch, Samples, as_gathered, to_bytes
from mtlue._formats import Portion
from mtlue._generator import UEGenerator, add_to_images
from mtlue._runtime import BatchSize, Compute, Progress, moved, repeatable_convolutions


@dataclass(frozen=True)
class Originals:
    """Some samples: 8-bit images in their own sizes, and the batch for the generator. A slice takes some of them."""

    indices: Sequence[int]
    images: Sequence[Tensor]
    batch: Batch

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.indices)

    def __getitem__(self, part: slice) -> Originals:
        """Return some of the samples."""
        return Originals(self.indices[part], self.images[part], self.batch[part])


class _SamplesWithOriginals(Samples):
    """Samples whose batches also hold the images in their own sizes."""

    def collate(  # type: ignore[override]  # one more entry than the batches for training have
        self, samples: Sequence[tuple[Tensor, Any]]
    ) -> tuple[list[Tensor], Batch]:
        return [to_bytes(image) for image, _ in samples], super().collate(samples)


class Generation:
    """A trained generator, and the samples to perturb.

    Args:
        generator: The generator, in eval mode.
        samples: The data set.
        selected: Which samples to perturb, booleans of shape (N,).
        protected_tasks: Names of the tasks to make unlearnable.
        compute: Where and how to compute.
    """

    def __init__(
        self, generator: UEGenerator, samples: Samples, selected: Tensor, protected_tasks: Collection[str], compute: Compute
    ) -> None:
        self.generator, self.selected, self.protected_tasks, self.compute = generator, selected, protected_tasks, compute
        self.samples = samples

    def batches(self, portion: Portion, batch_size: int) -> Generator[list[Tensor], None, None]:
        """Yield protected 8-bit images in batches. The generator is on the device meanwhile."""
        steps = -(-portion.total // batch_size)
        with Progress(self.compute.progress, stage="protect", total=steps, images=portion.total) as shown:
            shown.skip(portion.done // batch_size, portion.done)
            for _, images in self.pairs(portion.indices, batch_size):
                yield images
                shown.step(len(images))

    def pairs(self, indices: Iterable[int], batch_size: int) -> Iterator[tuple[Originals, list[Tensor]]]:
        """Yield samples in batches, with their protected 8-bit images. The generator is on the device meanwhile."""
        size = BatchSize(batch_size)
        with self.ready():
            with torch.no_grad(), self.compute.autocast():
                tables = self.generator.spread_tables()
            with self.generator.reuse_tables(tables):
                for originals in self._originals(indices, batch_size):
                    yield originals, [image for _, each in size.run(self._protect, originals) for image in each]

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Keep the generator on the device in this context."""
        with moved(self.generator, self.compute.device), repeatable_convolutions():
            yield

    def _originals(self, indices: Iterable[int], batch_size: int) -> Iterator[Originals]:
        samples = _SamplesWithOriginals(self.samples.dataset, self.samples.tasks, size=self.samples.size)
        # The loader asks for them ahead of what it yields, and only then does a portion take more.
        indices, asked = itertools.tee(indices)
        loader: DataLoader[tuple[list[Tensor], Batch]] = DataLoader(
            samples,  # type: ignore[arg-type]  # the loader is typed by what it reads, not by what collate_fn returns
            batch_size=batch_size,
            sampler=cast("Sampler[int]", asked),
            num_workers=self.compute.num_workers,
            collate_fn=as_gathered,
            generator=torch.Generator(),
        )
        for images, batch in loader:
            yield Originals(list(itertools.islice(indices, len(images))), images, batch)

    # Only here: the context must not cover what the user's data set computes, or what the caller does with the images.
    @torch.no_grad()
    def perturbations(self, batch: Batch) -> Tensor:
        """Return the perturbations (B, C, H, W) of a batch, on the device. The generator must be `ready`."""
        batch = batch.to(self.compute.device)
        with self.compute.autocast():
            delta: Tensor = self.generator(batch.images, batch.targets, protected_tasks=self.protected_tasks)
        return delta

    def _protect(self, originals: Originals) -> list[Tensor]:
        deltas, images = self.perturbations(originals.batch), list(originals.images)
        chosen = self.selected[torch.tensor(originals.indices)].nonzero().flatten().tolist()
        if chosen:
            added = add_to_images([images[place] for place in chosen], deltas[chosen], self.generator.epsilon)
            for place, image in zip(chosen, added, strict=True):
                images[place] = image
        return images
