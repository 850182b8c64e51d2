"""What a caller sees of a long call."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypeAlias

logger = logging.getLogger("mtlue")

#: Figures of a step by name.
Figures: TypeAlias = Mapping[str, float]
#: None, True, False, or a callable that gets the figures of each step.
ProgressOption: TypeAlias = bool | Callable[[Figures], object] | None

_LOG_EVERY = 10.0


class Progress:
    """Shows the progress of one stage of a call: a bar, log lines, a caller's own function, or nothing.

    Args:
        option: None for a tqdm bar when tqdm is installed and the output is a terminal, else log lines; True for a bar, or
            lines where there is no tqdm; False for nothing; a callable gets each step's figures.
        stage: What is being done.
        total: Number of steps.
    """

    def __init__(self, option: ProgressOption, *, stage: str, total: int) -> None:
        self._callback = option if callable(option) else None
        self._silent = option is False
        self._stage, self._total = stage, total
        self._done = 0
        self._started = self._logged = time.monotonic()
        self._samples = 0
        self._bar = None
        if option is True or (option is None and sys.stderr.isatty()):
            self._bar = _tqdm_bar(stage, total)

    @property
    def wants_figures(self) -> bool:
        """Whether each step's figures are used, for which a GPU has to be waited for."""
        return self._callback is not None or self._bar is not None

    def skip(self, steps: int) -> None:
        """Count steps that an earlier call has done."""
        self._done += steps
        if self._bar is not None:
            self._bar.update(steps)

    def step(self, samples: int, figures: Callable[[], Figures]) -> None:
        """Count a step of so many samples; its figures are made only if somebody looks."""
        self._done += 1
        self._samples += samples
        if self._silent:
            return
        now = time.monotonic()
        if self._callback is not None:
            self._callback({"step": self._done, "steps": self._total, "images_per_second": self._rate(now), **figures()})
        elif self._bar is not None:
            self._bar.set_postfix({name: f"{value:.4g}" for name, value in figures().items()}, refresh=False)
            self._bar.update()
        elif now - self._logged >= _LOG_EVERY or self._done == self._total:
            self._logged = now
            text = ", ".join(f"{name} {value:.4g}" for name, value in figures().items())
            logger.info(
                "%s: step %d of %d, %.0f images/s%s",
                self._stage,
                self._done,
                self._total,
                self._rate(now),
                text and f", {text}",
            )

    def _rate(self, now: float) -> float:
        return self._samples / max(now - self._started, 1e-9)

    def __enter__(self) -> Progress:
        """Start the stage."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()


def _tqdm_bar(stage: str, total: int) -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    return tqdm(total=total, desc=stage, unit="step")


def check_progress(progress: ProgressOption) -> None:
    """Check the ``progress`` argument.

    Raises:
        TypeError: it is neither None, a bool nor a callable.
    """
    if progress is not None and not isinstance(progress, bool) and not callable(progress):
        raise TypeError(f"progress: expected None, True, False or a callable, got {progress!r}")
