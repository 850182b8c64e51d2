"""Patterns from autoregressive processes over the pixels of an image, and the search for usable processes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue.baselines._patterns import check_request, unit_norm

_WINDOW = 3
# Rows and columns dropped at the top and on the left. They still show the noise that a process starts from.
_CROP = 4
# Acceptance test of the original: three signals of 3x32x32, each with an l2 norm of at most 50.
_TRIALS, _TRIAL_SIZE, _TRIAL_NORM, _TRIAL_CHANNELS = 3, 32, 50.0, 3
#: What every filter of an accepted process must respond to the unit-norm signal of a new one.
_RESPONSE = 10.0
# Processes drawn at once; how many stable ones are rejected before the required response is lowered, and by how much.
_BATCH, _PATIENCE, _RELAXATION = 64, 250, 0.9


class AR:
    """Autoregressive perturbations (Sandoval-Segura et al., 2022). Each class has a process that generates its pattern.

    In a channel, each pixel is a fixed linear combination of the eight before it in its 3x3 window, starting from noise. The
    filter with these eight weights, and -1 at the pixel, responds with 0 to the pattern of its own class only, so a convolution
    can tell the classes apart. A process is drawn at random and accepted, as in the original, if

    * it is stable: three signals of 32x32 have an l2 norm of at most 50 each (with C channels 50 * sqrt(C / 3));
    * it is distinguishable: the filter of each process accepted earlier for this task responds to its signal of norm 1 with at
      least 10, summed over positive values.

    Two things differ from the original. A process that is stable at 32x32 may diverge in a larger image, so the pattern itself
    must keep to the same mean square. And the original required a response of 10 for 10 classes and of 3 for 100. Here the
    requirement drops by a tenth after every 250 stable processes that were rejected.

    ``patterns(num_classes, shape, generator)`` returns patterns (num_classes, C, H, W) with an l2 norm of 1 each.

    Example:
        >>> import torch
        >>> from mtlue import baselines
        >>> patterns = baselines.AR()(2, (3, 32, 32), torch.Generator().manual_seed(0))
        >>> patterns.shape
        torch.Size([2, 3, 32, 32])
    """

    def __call__(self, num_classes: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        """Return a pattern for each class of a task.

        Args:
            num_classes: Number of classes.
            shape: Channels, height and width.
            generator: Random generator of torch.

        Raises:
            ValueError: ``num_classes`` is below 1, or the shape is not (C, H, W).
            TypeError: an argument is not an integer, or the shape not a sequence of them.
        """
        return unit_norm(find_processes(num_classes, check_request(num_classes, shape), generator)[1])

    def __repr__(self) -> str:
        return "AR()"


def find_processes(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Find processes that pass the acceptance test, and a signal of each.

    Returns:
        Coefficients (count, C, 3, 3), and signals (count, C, H, W) as generated, not scaled.
    """
    channels, height, width = shape
    accepted: list[Tensor] = []
    signals: list[Tensor] = []
    wanted, rejected = _RESPONSE, 0
    while True:
        coefficients, trials = _stable_processes(channels, generator)
        weakest = trials.new_full((len(trials),), torch.inf)
        if accepted:
            weakest = responses(trials, matching_filters(torch.stack(accepted))).amin(dim=1)
        for position, process in enumerate(coefficients):
            if weakest[position] >= wanted:
                signal = run(process, start_noise(channels, (height, width), generator))
                if bool(signal.norm() <= _largest_norm(channels, height, width)):
                    accepted.append(process)
                    signals.append(signal)
                    if len(accepted) == count:
                        return torch.stack(accepted), torch.stack(signals)
                    answers = responses(trials, matching_filters(process.unsqueeze(0)))[:, 0]
                    weakest = torch.minimum(weakest, answers)
                    continue
            rejected += 1
            if rejected % _PATIENCE == 0:
                wanted *= _RELAXATION


def _stable_processes(channels: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw processes and return the stable ones: coefficients (N, C, 3, 3), and trial signals of norm 1, (N, C, 32, 32).

    One channel in four is stable, but only one process of three channels in a hundred. So channels that exceed the norm on
    their own are dropped before channels are combined. This does not change the distribution of accepted processes.
    """
    drawn = draw_coefficients(_BATCH * channels, generator)
    size = (_TRIAL_SIZE, _TRIAL_SIZE)
    trials = run(drawn.repeat(_TRIALS, 1, 1), start_noise(_TRIALS * len(drawn), size, generator))
    trials = trials.view(_TRIALS, len(drawn), *size)
    limit = _largest_norm(channels, *size)
    norms = trials.flatten(2).norm(dim=2)
    # A comparison with NaN is false, so diverged processes are dropped.
    kept = (norms <= limit).all(dim=0).nonzero().flatten()
    groups = kept[: len(kept) // channels * channels].view(-1, channels)
    groups = groups[(norms[:, groups].norm(dim=2) <= limit).all(dim=0)]
    return drawn[groups], unit_norm(trials[-1][groups])


def _largest_norm(channels: int, height: int, width: int) -> float:
    """Return the largest norm allowed for signals of this shape. Its mean square is that of the original's limit."""
    pixels = channels * height * width
    return float(_TRIAL_NORM * (pixels / (_TRIAL_CHANNELS * _TRIAL_SIZE**2)) ** 0.5)


def draw_coefficients(count: int, generator: torch.Generator) -> Tensor:
    """Draw coefficients of random processes of one channel, (count, 3, 3).

    They weigh the 3x3 window that ends at a pixel. The weight of the pixel itself, at the bottom right, is 0, and the others
    sum to 1.
    """
    coefficients = torch.randn(count, _WINDOW, _WINDOW, generator=generator, device=generator.device)
    coefficients[:, -1, -1] = 0
    return coefficients / coefficients.sum(dim=(1, 2), keepdim=True)


def start_noise(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Draw the noise that signals of this size start from, (count, height + 4, width + 4)."""
    return torch.randn(count, size[0] + _CROP, size[1] + _CROP, generator=generator, device=generator.device)


def run(coefficients: Tensor, start: Tensor) -> Tensor:
    """Replace the noise of each process, pixel by pixel in raster order, by the dot product with the window before it.

    A pixel only needs pixels of earlier anti-diagonals, so one step for each diagonal computes its pixels for all processes.

    Args:
        coefficients: (N, 3, 3).
        start: Noise, (N, H + 4, W + 4).

    Returns:
        Signals without their first four rows and columns, (N, H, W). Infinite or NaN if a process diverges.
    """
    count, height, width = start.shape
    # By diagonal, then row, then process: what a step reads and writes is contiguous.
    skewed = start.new_zeros(height + width - 1, height, count)
    # The same memory by row, column, process: pixel (i, j) is at (i + j, i).
    signals = skewed.as_strided((height, width, count), ((height + 1) * count, height * count, 1))
    signals.copy_(start.permute(1, 2, 0))
    weights = coefficients.flip(1, 2).permute(1, 2, 0).contiguous()
    before = [(up, left) for up in range(_WINDOW) for left in range(_WINDOW) if up or left]
    for diagonal in range(2 * (_WINDOW - 1), height + width - 1):
        first, last = max(_WINDOW - 1, diagonal - width + 1), min(height, diagonal - _WINDOW + 2)
        total = skewed.new_zeros(last - first, count)
        for up, left in before:
            total.addcmul_(weights[up, left], skewed[diagonal - up - left, first - up : last - up])
        skewed[diagonal, first:last] = total
    return signals.permute(2, 0, 1)[:, _CROP:, _CROP:].contiguous()


def matching_filters(coefficients: Tensor) -> Tensor:
    """Return filters (N, C, 3, 3) that respond with 0 everywhere to processes with these coefficients (N, C, 3, 3)."""
    filters = coefficients.clone()
    filters[..., -1, -1] = -1
    return filters


def responses(signals: Tensor, filters: Tensor) -> Tensor:
    """Return how filters (M, C, 3, 3) respond to signals (N, C, H, W), as (N, M): the sum of positive values."""
    return F.conv2d(signals, filters).relu().sum(dim=(2, 3))
