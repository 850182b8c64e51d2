"""Show the progress of a long call."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypeAlias

from torch import Tensor

from mtlue._runtime.warn import warn

logger = logging.getLogger("mtlue.progress")

#: Figures of a step by name.
Figures: TypeAlias = Mapping[str, float]
#: None, True, False, or a callable that gets the figures of each step.
ProgressOption: TypeAlias = bool | Callable[[Figures], object] | None

_LOG_EVERY, _SHOW_EVERY = 10.0, 0.1
# Seconds of steps before the rest is estimated, seconds that are worth a line, and seconds that surprise.
_TIMED, _WORTH_SAYING, _LONG = 2.0, 10.0, 3600.0
# From here on, times are given in hours.
_MANY_MINUTES = 120
# tqdm's own, but never in seconds an image, which are hard to compare with the log lines' images a second.
_BAR = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]"


class Progress:
    """Shows the progress of one stage of a call: as a bar, as log lines, through a caller's function, or not at all.

    Args:
        option: None for a tqdm bar if tqdm is installed and the output is a terminal, or else log lines. True for a bar, or
            lines without tqdm. False for nothing. A callable gets each step's figures.
        stage: What is being done.
        total: Number of steps. There will be more if a batch is halved.
        images: Images in all steps together, which the bar then counts instead of steps. None if steps do not consist of
            images.
    """

    def __init__(self, option: ProgressOption, *, stage: str, total: int, images: int | None = None) -> None:
        self._callback = option if callable(option) else None
        self._silent = option is False
        self._stage, self._total, self._images = stage, total, images
        self._done = self._images_done = 0
        self._started = self._logged = time.monotonic()
        self._shown = -math.inf
        self._images_here = 0
        self._first: tuple[float, int] | None = None
        self._estimated = False
        self._bar = None
        if option is True or (option is None and _in_terminal()):
            self._bar = _tqdm_bar(stage, total, images)

    def skip(self, steps: int, images: int = 0) -> None:
        """Count steps, and their images, that an earlier call has done."""
        self._done += steps
        self._images_done += images
        if self._bar is not None:
            # Not an update: steps that took no time would spoil the rate, and so the estimate.
            self._bar.n += steps if self._images is None else images
            self._bar.initial = self._bar.last_print_n = self._bar.n
            self._bar.refresh()

    def announce(self, text: str) -> None:
        """Say what the next step is."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def step(self, samples: int, figures: Mapping[str, float | Tensor] | None = None) -> None:
        """Count a step of so many samples. Its figures, for which a GPU makes you wait, are read only if they are shown."""
        self._done += 1
        self._images_done += samples
        self._images_here += samples
        now = time.monotonic()
        if not self._estimated:
            self._estimate(now)
        if self._silent:
            return
        # Images show which step is the last, because halved batches take more steps than planned.
        last = self._done == self._total if self._images is None else self._images_done == self._images
        steps = max(self._total, self._done)
        if self._callback is not None:
            rate = {} if self._images is None else {"images_per_second": self._rate(now)}
            self._callback({"step": self._done, "steps": steps, **rate, **_read(figures)})
        elif self._bar is not None:
            if now - self._shown >= _SHOW_EVERY or last:
                self._shown = now
                found = _read(figures)
                if found:
                    self._bar.set_postfix({name: f"{value:.4g}" for name, value in found.items()}, refresh=False)
            self._bar.update(1 if self._images is None else samples)
        elif now - self._logged >= _LOG_EVERY or last:
            self._logged = now
            parts = [] if self._images is None else [f"{self._rate(now):.0f} images/s"]
            parts += [f"{name} {value:.4g}" for name, value in _read(figures).items()]
            logger.info("%s: step %d of %d%s", self._stage, self._done, steps, "".join(f", {part}" for part in parts))

    def _estimate(self, now: float) -> None:
        """Say once how long the rest will take. The first step, which is slower, does not count."""
        if self._first is None:
            self._first = now, self._done
            return
        started, before = self._first
        if now - started < _TIMED:
            return
        self._estimated = True
        left = (now - started) * (self._total - self._done) / (self._done - before)
        if left >= _WORTH_SAYING:
            logger.info("%s: about %s to go", self._stage, duration(left))
        if left >= _LONG:
            warn(f"{self._stage}: about {duration(left)} to go; for less, take fewer epochs, smaller images or a GPU")

    def _rate(self, now: float) -> float:
        return self._images_here / max(now - self._started, 1e-9)

    def __enter__(self) -> Progress:
        """Start the stage."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()


def duration(seconds: float) -> str:
    """Format a time for people."""
    minutes = seconds / 60
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes:.0f} min" if minutes < _MANY_MINUTES else f"{minutes / 60:.0f} h"


def _read(figures: Mapping[str, float | Tensor] | None) -> dict[str, float]:
    return {name: value.item() if isinstance(value, Tensor) else value for name, value in (figures or {}).items()}


def _in_terminal() -> bool:
    # A program without a console has no such stream.
    return sys.stderr is not None and sys.stderr.isatty()


def _tqdm_bar(stage: str, total: int, images: int | None) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    if images is None:
        return tqdm(total=total, desc=stage, unit="step")
    return tqdm(total=images, desc=stage, unit=" images", bar_format=_BAR)


def check_progress(progress: ProgressOption) -> None:
    """Check the ``progress`` argument.

    Raises:
        TypeError: it is neither None, a bool nor a callable.
    """
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise TypeError(f"progress: expected None, True, False or a callable, got {progress!r}")
