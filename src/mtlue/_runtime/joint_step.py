"""A step that all ranks take together, or give up together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mtlue._runtime.job import Job
from mtlue._runtime.joint_batch_norm import JointBatchNorm
from mtlue._runtime.share import Share, activated


@contextmanager
def joint_step(share: Share | None) -> Iterator[None]:
    """Take a step on a share of a batch in this context. It ends when all ranks have taken theirs.

    Args:
        share: The share, or None if this process computes alone. Then nothing happens.

    Yields:
        Nothing.
    """
    if share is None:
        yield
        return
    with activated(share), JointBatchNorm():
        yield
    share.job.everywhere(True)
    if len(share) % share.job.size and not share.whole:
        _draw_alike(share.job)


def _draw_alike(job: Job) -> None:
    """Go on with the random numbers of rank 0: dropout draws more of them where a share is larger."""
    torch.set_rng_state(job.from_rank(0, torch.get_rng_state))
    if torch.cuda.is_initialized():
        torch.cuda.set_rng_state(job.from_rank(0, torch.cuda.get_rng_state))
