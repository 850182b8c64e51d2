"""A linear model of the pixels for all tasks at once."""

from __future__ import annotations

import torch
from torch import Tensor

from mtlue._data import shuffled_batches
from mtlue._runtime.device import derived_seed
from mtlue.defenses._checked_samples import CheckedSamples


def fit_linear_model(
    samples: CheckedSamples, *, pixels: int, epochs: int, batch_size: int, device: torch.device, seed: int
) -> Tensor:
    """Weights (outputs, C * H * W) of a linear model without bias, for the tasks whose labels are of the whole image.

    With the tasks' own losses, for classes this is logistic regression. The data set is read once an epoch, a batch at a
    time, in an order that the seed decides. The weights start at zero and are fitted by gradient descent with momentum,
    whose learning rate falls linearly to zero.

    Long fits are not better ones: weights that fit to the end turn into the directions in which images vary the least, and
    more of the pattern stays in what is orthogonal to them.
    """
    tasks = {name: task for name, task in samples.tasks.items() if not task.is_map}
    widths = [task.output_channels for task in tasks.values()]
    weights = torch.zeros(sum(widths), pixels, device=device, requires_grad=True)
    # The more pixels add up in an output, the further it moves with a step: so it moves equally far whatever the size.
    optimizer = torch.optim.SGD([weights], lr=30.0 / pixels, momentum=0.9)
    steps = epochs * -(-len(samples) // batch_size)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=steps)
    with torch.enable_grad():
        for epoch in range(epochs):
            for images, targets in shuffled_batches(
                samples, batch_size=batch_size, seed=derived_seed(seed, epoch), size=samples.size, device=device, num_workers=0
            ):
                outputs = (images.flatten(1) @ weights.T).split(widths, dim=1)
                losses = [
                    task.loss(task.read_output(output), targets[name])
                    for (name, task), output in zip(tasks.items(), outputs, strict=True)
                ]
                optimizer.zero_grad()
                torch.stack(losses).sum().backward()
                optimizer.step()
                schedule.step()
    return weights.detach()
