"""This rank's share of a batch, and what is computed over the shares of all ranks.

Rank r of W has the samples r, r + W, r + 2W, … of a batch, so that a part of the batch is divided like the whole. Losses and
their gradients are means over a rank's share. Weighted by the numbers of samples they add up to those of the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from mtlue._runtime.job import Job


@dataclass(frozen=True)
class Share:
    """Which samples of a batch this rank has.

    Attributes:
        job: The call that the ranks make together.
        start: Position of the first sample, counted from the start of the batch that was divided.
        stop: The position after the last sample.
        whole: Whether this rank has all of them, because there are fewer samples than ranks. It then computes alone.
    """

    job: Job
    start: int
    stop: int
    whole: bool = False

    def __len__(self) -> int:
        """Return the number of samples of all ranks."""
        return self.stop - self.start

    @property
    def own(self) -> slice:
        """The samples of this rank, among all of them."""
        return slice(None) if self.whole else slice((self.job.rank - self.start) % self.job.size, None, self.job.size)

    @property
    def count(self) -> int:
        """The number of samples of this rank."""
        return len(range(len(self))[self.own])

    @property
    def weight(self) -> float:
        """The samples of this rank as a share of all of them."""
        return self.count / len(self)

    def rows(self, part: slice) -> slice:
        """Return where the samples of a part are among those of this rank."""
        start, stop, _ = part.indices(len(self))
        return part if self.whole else slice(self._before(start), self._before(stop))

    def part(self, part: slice) -> Share:
        """Return this rank's share of a part of the batch."""
        start, stop, _ = part.indices(len(self))
        return Share(self.job, self.start + start, self.start + stop, self.whole)

    def gathered(self, tensor: Tensor) -> Tensor:
        """Return the rows (B, ...) of all ranks from those of this rank, in the order of the batch. They carry no gradient."""
        # Truth values cannot be added up.
        kind = torch.uint8 if tensor.dtype == torch.bool else tensor.dtype
        rows = tensor.new_zeros((len(self), *tensor.shape[1:]), dtype=kind)
        rows[self.own] = tensor.detach().to(kind)
        return self.job.sum(rows).to(tensor.dtype)

    def _before(self, position: int) -> int:
        return len(range(position)[self.own])


_active: list[Share | None] = []


def active_share() -> Share | None:
    """Return the share of the step that is being taken, or None if this process computes alone."""
    return _active[-1] if _active else None


@contextmanager
def activated(share: Share) -> Iterator[None]:
    """Compute over the shares of all ranks in this context."""
    _active.append(None if share.whole else share)
    try:
        yield
    finally:
        _active.pop()


def joint_count(count: int) -> int:
    """Return the number of samples in the batch, of which ``count`` are here."""
    share = active_share()
    return count if share is None else len(share)


def joint_sum(value: Tensor) -> Tensor:
    """Return the sum over all ranks of what each has found in its share. It carries no gradient."""
    share = active_share()
    return value if share is None else share.job.sum(value)


def joint_mean(value: Tensor) -> Tensor:
    """Return the mean over the batch, from means over the shares. It carries no gradient."""
    share = active_share()
    return value if share is None else share.job.sum(value * share.weight)


def joint_norm(gradient: Tensor) -> Tensor:
    """Return the norm of a gradient at all images of the batch."""
    share = active_share()
    return gradient.norm() if share is None else share.job.sum((gradient * share.weight).square().sum()).sqrt()


def on_all_ranks(flag: bool) -> bool:
    """Return whether a flag is true on all ranks."""
    share = active_share()
    return flag if share is None else share.job.everywhere(flag)


def gathered(rows: Tensor) -> Tensor:
    """Return the rows of the whole batch from those of this rank's share."""
    share = active_share()
    return rows if share is None else share.gathered(rows)


def relative_weights(counts: Callable[[], Tensor]) -> Tensor | None:
    """Return what to multiply means over some labels with, so that means over samples of the results are those over all labels.

    Args:
        counts: How many labels of each kind this rank has.

    Returns:
        A weight for each kind, or None if this process computes alone.
    """
    share = active_share()
    if share is None:
        return None
    mine = counts().float()
    weights: Tensor = mine / share.job.sum(mine).clamp_min(1) / share.weight
    return weights


def own_rows(rows: Tensor) -> Tensor:
    """Return the rows of this rank's share from those of the whole batch."""
    share = active_share()
    return rows if share is None else rows[share.own]


def stand_ins(rows: Tensor) -> Tensor:
    """Return rows for the whole batch: this rank's own in their places, copies of them in those of the other ranks.

    What draws random numbers for each sample then draws the same as a single process.
    """
    share = active_share()
    if share is None:
        return rows
    index = torch.arange(len(share), device=rows.device) // share.job.size
    return rows[index.clamp_max(len(rows) - 1)]


def drawn_alike(change: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Return images after a random change that is drawn for the whole batch."""
    return own_rows(change(stand_ins(images)))


def held(value: Tensor, *through: Tensor) -> Tensor:
    """Return a loss with a gradient, which is zero if it has none here: other ranks' losses may have one.

    Args:
        value: The loss.
        through: What losses depend on.
    """
    if active_share() is None or value.requires_grad:
        return value
    for tensor in through:
        value = value + tensor.masked_fill(torch.ones_like(tensor, dtype=torch.bool), 0.0).sum()
    return value


def average_gradients(optimizer: torch.optim.Optimizer) -> None:
    """Replace gradients of this rank's share by those of the batch, with one message."""
    share = active_share()
    if share is None:
        return
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    found = torch.tensor([parameter.grad is not None for parameter in parameters], dtype=torch.float32)
    parts = [torch.zeros_like(each) if each.grad is None else each.grad for each in parameters]
    flat = torch.cat([part.flatten().float() for part in parts]) * share.weight
    total = share.job.sum(torch.cat([flat, found.to(flat.device)]))
    taken = None if bool(found.all()) else total[-len(parameters) :].tolist()
    for position, (parameter, part) in enumerate(
        zip(parameters, total[: len(flat)].split([part.numel() for part in parts]), strict=True)
    ):
        # A parameter without a gradient on any rank does not take a step.
        if taken is None or taken[position]:
            parameter.grad = torch.empty_like(parameter).copy_(part.view_as(parameter))
