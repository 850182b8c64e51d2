"""``mtlue protect --dry-run``: show what was read, what would run, where, and for about how long."""

from __future__ import annotations

import argparse
import logging
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import mtlue
from mtlue._cli.console import duration, say
from mtlue._cli.key import existing_key
from mtlue._cli.losses import training_settings
from mtlue._cli.photos import Photos
from mtlue._data import Inspection, inspect_dataset
from mtlue._protect import DEFAULT_EPSILON, default_loss, make_surrogate
from mtlue._runtime import Compute, choose_device

# Steps to time, after the first one, which is slower.
_STEPS = 6
_SECONDS = 20.0
# The beginnings of lines that say what is trained.
_TRAINING = re.compile(r"(surrogate|fit): \d+ samples")
_EPOCHS = re.compile(r"(\d+) epochs")
# From so many seconds on, a dry run says how to save time.
_LONG = 600.0
# Fewer epochs cannot be quartered.
_DIVISIBLE = 4


def rehearse(photos: Photos, options: argparse.Namespace) -> None:
    """Read every photo, say what would be done, and time a few steps of the training."""
    dataset = photos.dataset
    inspection = inspect_dataset(dataset, dataset.tasks, num_workers=options.workers)
    say(f"photos    {inspection.length}, {'in colour' if inspection.channels == 3 else 'grey'}, {_sizes(inspection)}")
    photos.describe()
    key = existing_key(options)
    epsilon = options.epsilon or (DEFAULT_EPSILON if key is None else key.epsilon)
    say(f"budget    {255 * epsilon:g} of 255 levels a pixel")
    say(f"device    {choose_device(options.device, None)}")
    if key is not None:
        say(f"runs      the key in {options.key}; no training is needed")
    elif options.loss == "sep":
        say("runs      a surrogate first, because SEP needs its states, then the generator")
        say("time      about twice as long as with --loss tap")
    else:
        # It would advise against a long training in the middle of the lines that say so.
        warnings.filterwarnings("ignore", message=".* to go; for less")
        stages, seconds = _timed(options, photos, inspection)
        for stage in stages:
            # Without the settings of the loss.
            say(f"runs      {re.sub(r'[(].*[)]', '', stage)}")
        say(f"time      {duration(seconds)}, estimated from {_STEPS} steps")
        if seconds > _LONG and options.epochs is None:
            say(f"faster    {_advice(stages[-1], is_default=options.loss is None)}")
    say(f"writes    {options.out or 'the folder that --out names'}; this was a dry run: nothing was written")


def _sizes(inspection: Inspection) -> str:
    height, width = inspection.typical_size
    if inspection.uniform:
        return f"{width} × {height} pixels"
    smallest, largest = (choose(inspection.sizes, key=lambda each: each[0] * each[1]) for choose in (min, max))
    return (
        f"{len(inspection.sizes)} sizes from {smallest[1]} × {smallest[0]} to {largest[1]} × {largest[0]} pixels, "
        f"perturbed at {width} × {height}"
    )


@contextmanager
def _begun() -> Iterator[list[str]]:
    """Collect what the library says about each training that it begins in this context."""
    lines: list[str] = []

    def note(record: logging.LogRecord) -> bool:
        line = record.getMessage()
        if _TRAINING.match(line):
            lines.append(line)
        return True

    loggers = [logging.getLogger(name) for name in ("mtlue.fit", "mtlue.protect")]
    for logger in loggers:
        logger.addFilter(note)
    try:
        yield lines
    finally:
        for logger in loggers:
            logger.removeFilter(note)


class _Enough(Exception):  # noqa: N818  # no error: it ends a rehearsal
    """Raised when enough steps have been timed."""


class _Stopwatch:
    """Replaces a progress bar, and stops the call after a few steps.

    Attributes:
        left: Seconds that the rest of the stage takes. None until there are steps to estimate it from.
    """

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self.left: float | None = None

    def __call__(self, figures: Mapping[str, float]) -> None:
        now, step = time.monotonic(), figures["step"]
        if self._first is None or step <= self._first[1]:
            self._first = (now, step)
            return
        began, first = self._first
        self.left = (now - began) / (step - first) * (figures["steps"] - first)
        if step - first >= _STEPS or now - began > _SECONDS:
            raise _Enough


def _advice(training: str, *, is_default: bool) -> str:
    """Return what takes less time than a training, given the line that the library has written about it."""
    found = _EPOCHS.search(training)
    epochs = int(found[1]) if found is not None else 1
    if epochs < _DIVISIBLE:
        return "a smaller --image-size, in which the photos are then published"
    # Measured for the default on faces: R is below 0.01 with all epochs, 0.08 with half of them and 0.37 with a quarter.
    protects = f"nearly as well; --epochs {epochs // 4} protects much less" if is_default else "less"
    return f"--epochs {epochs // 2} takes half the time and protects {protects}"


def _timed(options: argparse.Namespace, photos: Photos, inspection: Inspection) -> tuple[list[str], float]:
    """Return the trainings, and the seconds they take together."""
    settings = training_settings(options)
    loss = settings.get("loss") or default_loss(photos.dataset.tasks)
    with _begun() as trainings:
        seconds, done = _seconds(photos, settings)
        if not done and trainings[-1].startswith("surrogate"):
            # The surrogate was timed. Now time the generator, with a surrogate that exists.
            surrogate = make_surrogate(
                loss, photos.dataset.tasks, inspection.image_shape, Compute(choose_device(options.device, None))
            )
            # It has learned nothing, and the library would say so.
            warnings.filterwarnings("ignore", message="surrogate: no better than chance")
            seconds += _seconds(photos, {**settings, "surrogate": surrogate})[0]
    return trainings, seconds


def _seconds(photos: Photos, settings: Mapping[str, Any]) -> tuple[float, bool]:
    """Return how long the first training takes, from a few of its steps, and whether everything was finished meanwhile."""
    watch, began = _Stopwatch(), time.monotonic()
    try:
        # A check of a few steps says nothing.
        mtlue.protect(photos.dataset, check=False, progress=watch, **settings)
    except _Enough:
        return watch.left or 0.0, False
    return time.monotonic() - began, True
