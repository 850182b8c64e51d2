"""The surrogate for those who bring none."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from mtlue._data import Samples, Transform, augmented, shuffled_batches
from mtlue._data.batches import Batch
from mtlue._fit.checkpoint import Checkpoint
from mtlue._fit.module_memory import module_batch_size
from mtlue._fit.schedule import paper_schedule
from mtlue._fit.surrogate_steps import train_surrogate
from mtlue._losses import Surrogate
from mtlue._runtime.device import derived_seed, random_numbers
from mtlue._runtime.memory import BatchSize
from mtlue._runtime.progress import Progress, ProgressOption
from mtlue._tasks import CheckedTargets, Task

_PRETRAINING = 4

logger = logging.getLogger("mtlue.protect")


class ResNet18Surrogate(nn.Module):
    """torchvision's ResNet-18, not pretrained, with one head for each task (hard parameter sharing).

    A task with a label for the whole image gets a linear layer on the pooled features; one with a label map gets the sum of
    1x1 convolutions on the last three stages, brought to the image's size.

    Args:
        tasks: The tasks.
        channels: Channels of the images.
    """

    def __init__(self, tasks: Mapping[str, Task], channels: int) -> None:
        super().__init__()
        backbone = torchvision.models.resnet18(weights=None)
        if channels != 3:
            backbone.conv1 = nn.Conv2d(channels, 64, 7, stride=2, padding=3, bias=False)
        self.stem = nn.Sequential(backbone.conv1, backbone.bn1, backbone.relu, backbone.maxpool, backbone.layer1)
        self.stages = nn.ModuleList([backbone.layer2, backbone.layer3, backbone.layer4])
        # Lists in task order: a task may have a name that a module cannot.
        self._is_map = [task.num_embeddings == 0 for task in tasks.values()]
        self.heads = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(width, task.output_channels, 1) for width in (128, 256, 512))
            if is_map
            else nn.Linear(512, task.output_channels)
            for task, is_map in zip(tasks.values(), self._is_map, strict=True)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Outputs in task order for images (B, C, H, W)."""
        features = [self.stem(images)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        size = images.shape[-2:]
        outputs: list[Tensor] = []
        for head, is_map in zip(self.heads, self._is_map, strict=True):
            if is_map and isinstance(head, nn.ModuleList):
                maps = [part(feature) for part, feature in zip(head, features[1:], strict=True)]
                outputs.append(torch.stack([F.interpolate(each, size=size, mode="bilinear") for each in maps]).sum(dim=0))
            else:
                outputs.append(head(features[-1].mean(dim=(2, 3))))
        return outputs


def random_shift(images: Tensor) -> Tensor:
    """Move each image by up to an eighth of its size, as padding and a random crop do; the border becomes black."""
    count, channels, height, width = images.shape
    up, left = height // 8, width // 8
    padded = F.pad(images, (left, left, up, up))
    rows = torch.arange(height) + torch.randint(2 * up + 1, (count, 1))
    columns = torch.arange(width) + torch.randint(2 * left + 1, (count, 1))
    rows, columns = rows.to(images.device), columns.to(images.device)
    rows = rows.reshape(count, 1, height, 1).expand(count, channels, height, padded.shape[-1])
    return padded.gather(2, rows).gather(3, columns.reshape(count, 1, 1, width).expand(count, channels, height, width))


def pretrain(
    surrogate: Surrogate,
    samples: Samples,
    *,
    size: tuple[int, int] | None,
    epochs: int,
    batch_size: int | None,
    augment: Transform | None,
    device: torch.device,
    precision: torch.dtype,
    num_workers: int,
    seed: int,
    checkpoint: str | os.PathLike[str] | None,
    progress: ProgressOption,
) -> None:
    """Train a surrogate on the clean data, with the schedule of appendix A.2; resume from ``checkpoint`` if it is there."""
    module = surrogate.module.to(device)
    if batch_size is None:
        batch_size = module_batch_size(module, samples, size, device, precision)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
    settings = {
        "stage": "surrogate",
        "samples": len(samples),
        "epochs": epochs,
        "batch_size": batch_size,
        "seed": seed,
        "precision": str(precision),
    }
    kept = Checkpoint(checkpoint, settings)
    state = kept.load()
    largest = BatchSize(batch_size)
    done = 0

    def view(images: Tensor, targets: CheckedTargets) -> Batch:
        return augmented(augment, images, targets, surrogate.tasks)

    if state is not None:
        module.load_state_dict(state["module"])
        optimizer.load_state_dict(state["optimizer"])
        done, largest.value = state["epoch"], state["batch_size"]
        logger.info("surrogate: going on after epoch %d of %d, from %s", done, epochs, kept.path)
    else:
        logger.info("surrogate: %d samples, %d epochs, batches of %d samples, on %s", len(samples), epochs, batch_size, device)
    with Progress(progress, stage="surrogate", total=epochs, images=epochs * len(samples)) as shown:
        shown.skip(done, done * len(samples))
        for epoch in range(done, epochs):
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * paper_schedule(epoch / epochs)
            epoch_seed = derived_seed(seed, _PRETRAINING, epoch)
            batches = shuffled_batches(
                samples, batch_size=largest.value, seed=epoch_seed, size=size, device=device, num_workers=num_workers
            )
            with random_numbers(epoch_seed, device):
                loss = train_surrogate(
                    surrogate,
                    optimizer,
                    batches,
                    view,
                    batch_size=largest,
                    precision=precision,
                )
            figures = {"epoch": epoch + 1, "surrogate_loss": loss.item()}
            shown.step(len(samples), lambda figures=figures: figures)  # type: ignore[misc]  # mypy types no default of a lambda
            kept.save({
                "module": module.state_dict(),
                "optimizer": optimizer.state_dict(),
                "epoch": epoch + 1,
                "batch_size": largest.value,
            })
            logger.info("surrogate: epoch %d of %d: loss %.4g", epoch + 1, epochs, figures["surrogate_loss"])
    module.eval()
