"""Running a trained generator over a data set."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from mtlue._data import Collate, Inspection, Samples, to_bytes, to_unit_floats
from mtlue._generator import UEGenerator, resize
from mtlue._protect.rounding import add_in_levels
from mtlue._runtime.device import autocast
from mtlue._runtime.memory import BatchSize
from mtlue._tasks import CheckedTargets


class _KeepOriginals(Collate):
    """Stacks samples for the generator, and keeps the images in their own sizes beside them."""

    def __call__(  # type: ignore[override]  # one more entry than the batches for training have
        self, samples: Sequence[tuple[Tensor, Any]]
    ) -> tuple[list[Tensor], Tensor, CheckedTargets]:
        images, targets = super().__call__(samples)
        return [to_bytes(image) for image, _ in samples], images, targets


def protected_images(
    generator: UEGenerator,
    samples: Samples,
    inspection: Inspection,
    *,
    start: int,
    selected: Tensor,
    protected_tasks: Collection[str],
    batch_size: int,
    device: torch.device,
    precision: torch.dtype,
    num_workers: int,
) -> Iterator[list[Tensor]]:
    """Protected 8-bit images, batch by batch, from sample ``start`` on.

    Args:
        generator: On ``device``, in eval mode.
        samples: The data set.
        inspection: What is known of it.
        start: First sample.
        selected: Which samples to perturb, booleans of shape (N,).
        protected_tasks: Tasks to make unlearnable.
        batch_size: Samples a batch.
        device: Where to compute.
        precision: float32 or bfloat16.
        num_workers: Processes that read the data set.
    """
    size = None if inspection.uniform else (generator.image_shape[1], generator.image_shape[2])
    loader: DataLoader[tuple[list[Tensor], Tensor, CheckedTargets]] = DataLoader(
        samples,  # type: ignore[arg-type]  # the loader is typed by what it reads, not by what collate_fn returns
        batch_size=batch_size,
        sampler=range(start, len(samples)),
        num_workers=num_workers,
        collate_fn=_KeepOriginals(samples.tasks, size),
        pin_memory=False,
        generator=torch.Generator(),
    )
    smaller = BatchSize(batch_size)
    with torch.no_grad(), autocast(device, precision):
        tables = generator.spread_tables()
    with generator.reuse_tables(tables):
        for originals, images, targets in loader:

            def step(
                part: slice,
                originals: list[Tensor] = originals,
                images: Tensor = images,
                targets: CheckedTargets = targets,
                first: int = start,
            ) -> list[Tensor]:
                labels = CheckedTargets({name: target[part] for name, target in targets.items()}).to(device)
                unit = to_unit_floats(images[part].to(device))
                # Only here: what the user's data set computes, and what becomes of the images, is none of our business.
                with torch.no_grad(), autocast(device, precision):
                    deltas = generator(unit, labels, protected_tasks=protected_tasks).cpu()
                protected: list[Tensor] = []
                for index, (clean, delta) in enumerate(zip(originals[part], deltas, strict=True), start=first + part.start):
                    own = resize(delta.unsqueeze(0), (clean.shape[-2], clean.shape[-1])).squeeze(0)
                    protected.append(add_in_levels(clean, own, generator.epsilon) if selected[index] else clean)
                return protected

            done: list[Tensor] = []

            def keep(_: slice, protected: list[Tensor], done: list[Tensor] = done) -> None:
                done.extend(protected)

            smaller.run(len(originals), step, keep)
            start += len(originals)
            yield done
