"""The epoch of a training that somebody with clean test images would choose."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from mtlue._tasks import Task
from mtlue.evaluation._metrics import Headline, headlines_of, value_of


def best_epoch(
    found: Sequence[Mapping[str, Mapping[str, float]]], tasks: Mapping[str, Task], chance: Mapping[str, float]
) -> int:
    """Return the first epoch at which most was learned, or the last epoch if this cannot be said of any.

    Metrics of different kinds cannot be averaged. The average is therefore over how far each headline metric has come from
    chance (0) to perfect (1).

    Args:
        found: Metrics by task after each epoch.
        tasks: The tasks.
        chance: The headline metric of each task for the best answer that ignores the image.
    """
    headlines = headlines_of(tasks)
    scores = [_score(metrics, headlines, chance) for metrics in found]
    known = [score for score in scores if math.isfinite(score)]
    return scores.index(max(known)) if known else len(scores) - 1


def _score(metrics: Mapping[str, Mapping[str, float]], headlines: Mapping[str, Headline], chance: Mapping[str, float]) -> float:
    shares = [
        counted.share_learned(value_of(counted, metrics[name], name), chance.get(name, math.nan))
        for name, counted in headlines.items()
    ]
    finite = [share for share in shares if math.isfinite(share)]
    return statistics.fmean(finite) if finite else math.nan
