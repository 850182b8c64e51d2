"""Patterns of autoregressive processes over the pixels of an image, and the search for processes that can be used."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from mtlue.baselines._patterns import check_request, unit_norm

_WINDOW = 3
# Rows and columns at the top and at the left that are dropped: they are still the noise that a process starts from.
_CROP = 4
# Acceptance test of the original: three signals of 3x32x32, each of an l2 norm of at most 50.
_TRIALS, _TRIAL_SIZE, _TRIAL_NORM, _TRIAL_CHANNELS = 3, 32, 50.0, 3
#: Response to the unit-norm signal of a new process that every filter of an accepted one must have.
_RESPONSE = 10.0
# Processes drawn at once; so many stable ones may be rejected before less response is asked for, and that much less.
_BATCH, _PATIENCE, _RELAXATION = 64, 250, 0.9


class AR:
    """Autoregressive perturbations (Sandoval-Segura et al., 2022): each class has a process that generates its pattern.

    In a channel each pixel is a fixed linear combination of the eight before it in its 3x3 window, started from noise. The
    filter with these eight weights and -1 at the pixel answers 0 to the pattern of its class only, so a convolution can
    distinguish the classes. A process is drawn at random, and accepted as in the original if

    * it is stable: three signals of 32x32 have an l2 norm of at most 50 each (with C channels 50 * sqrt(C / 3));
    * it is distinguishable: to its signal of norm 1, the filter of each process accepted before for this task answers with
      at least 10, summed over what is above 0.

    Two additions to the original. A process that is stable at 32x32 may diverge in a larger image, so the pattern itself
    must keep to the same mean square too. The original asked for 10 with 10 classes and for 3 with 100: here, after every 250
    processes that are stable and yet rejected, a tenth less is asked for.

    ``patterns(num_classes, shape, generator)`` returns patterns (num_classes, C, H, W) with an l2 norm of 1 each.

    Example:
        >>> import torch
        >>> from mtlue import baselines
        >>> patterns = baselines.AR()(2, (3, 32, 32), torch.Generator().manual_seed(0))
        >>> patterns.shape
        torch.Size([2, 3, 32, 32])
    """

    def __call__(self, num_classes: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        """Patterns of a task's classes.

        Args:
            num_classes: How many.
            shape: Channels, height and width.
            generator: Source of random numbers.

        Raises:
            ValueError: there is no class, or the shape is not (C, H, W).
            TypeError: an argument is not an integer, or the shape not a sequence of them.
        """
        return unit_norm(find_processes(num_classes, check_request(num_classes, shape), generator)[1])

    def __repr__(self) -> str:
        return "AR()"


def find_processes(count: int, shape: tuple[int, int, int], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Processes that pass the acceptance test, and a signal of each.

    Returns:
        Coefficients (count, C, 3, 3), and signals (count, C, H, W) as they were generated, not scaled.
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
    """The stable ones among random processes: coefficients (N, C, 3, 3), and a trial signal of norm 1 of each, (N, C, 32, 32).

    One channel in four is stable, three channels at once one time in a hundred. A channel that alone exceeds the norm is
    thus left out before channels are put together; that leaves the distribution of the accepted processes as it is.
    """
    drawn = draw_coefficients(_BATCH * channels, generator)
    size = (_TRIAL_SIZE, _TRIAL_SIZE)
    trials = run(drawn.repeat(_TRIALS, 1, 1), start_noise(_TRIALS * len(drawn), size, generator))
    trials = trials.view(_TRIALS, len(drawn), *size)
    limit = _largest_norm(channels, *size)
    norms = trials.flatten(2).norm(dim=2)
    # A comparison with NaN is false: what has diverged is not kept.
    kept = (norms <= limit).all(dim=0).nonzero().flatten()
    groups = kept[: len(kept) // channels * channels].view(-1, channels)
    groups = groups[(norms[:, groups].norm(dim=2) <= limit).all(dim=0)]
    return drawn[groups], unit_norm(trials[-1][groups])


def _largest_norm(channels: int, height: int, width: int) -> float:
    """The norm that signals of this shape may have: the mean square is that of the original's limit."""
    pixels = channels * height * width
    return float(_TRIAL_NORM * (pixels / (_TRIAL_CHANNELS * _TRIAL_SIZE**2)) ** 0.5)


def draw_coefficients(count: int, generator: torch.Generator) -> Tensor:
    """Coefficients of random processes of one channel, (count, 3, 3).

    They weigh the 3x3 window that ends at a pixel; the weight of the pixel itself, at the bottom right, is 0, and the others
    sum to 1.
    """
    coefficients = torch.randn(count, _WINDOW, _WINDOW, generator=generator, device=generator.device)
    coefficients[:, -1, -1] = 0
    return coefficients / coefficients.sum(dim=(1, 2), keepdim=True)


def start_noise(count: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """What so many signals of this size start from, (count, height + 4, width + 4)."""
    return torch.randn(count, size[0] + _CROP, size[1] + _CROP, generator=generator, device=generator.device)


def run(coefficients: Tensor, start: Tensor) -> Tensor:
    """Let each process replace its noise, pixel by pixel in raster order, by the dot product with the window before it.

    A pixel needs only pixels of earlier anti-diagonals: one step a diagonal computes all its pixels of all processes.

    Args:
        coefficients: (N, 3, 3).
        start: Noise, (N, H + 4, W + 4).

    Returns:
        The signals without their first four rows and columns, (N, H, W); infinite or NaN where a process diverges.
    """
    count, height, width = start.shape
    # By diagonal, then row, then process: what a step reads and writes lies in one piece.
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
    """Filters (N, C, 3, 3) that answer 0 everywhere to what processes of these coefficients (N, C, 3, 3) generate."""
    filters = coefficients.clone()
    filters[..., -1, -1] = -1
    return filters


def responses(signals: Tensor, filters: Tensor) -> Tensor:
    """How strongly filters (M, C, 3, 3) answer to signals (N, C, H, W), (N, M): the sum of what a convolution has above 0."""
    return F.conv2d(signals, filters).relu().sum(dim=(2, 3))
