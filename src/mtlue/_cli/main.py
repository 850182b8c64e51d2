"""The entry point. It reads the command, runs it, and turns errors into one line and an exit status."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import NoReturn

from mtlue._cli import audit, preview, protect, verify
from mtlue._cli.console import complain

_COMMANDS = (protect, audit, verify, preview)
#: Errors that the library raises for a wrong argument, a faulty file, a training that diverges, or too little memory.
_WRONG = (ValueError, OSError, ImportError, RuntimeError, MemoryError)
_USAGE, _INTERRUPTED = 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: The words after ``mtlue``. Those of this process if None.

    Returns:
        The exit status: 0 for success, 1 if a check failed, 2 for wrong usage, 130 after Ctrl-C.
    """
    options = _parser().parse_args(arguments)
    with warnings.catch_warnings():
        # Only the library's warnings: deprecations of other libraries mean nothing to the user of a command.
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", category=UserWarning)
        warnings.showwarning = lambda message, *_, **__: complain(f"warning: {message}")
        with _log_lines(logging.WARNING if getattr(options, "dry_run", False) else logging.INFO):
            try:
                status: int = options.run(options)
            except KeyboardInterrupt:
                complain(options.interrupted)
                return _INTERRUPTED
            except _WRONG as error:
                complain(f"error: {error}")
                return _USAGE
    return status


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without a summary of all options before it."""

    def error(self, message: str) -> NoReturn:
        self.exit(_USAGE, f"{self.prog}: error: {message}; {self.prog} --help lists what there is\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="mtlue",
        description="Make a folder of labelled photos unlearnable, measure it, and publish it.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"mtlue {version('mtlue')}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_to(commands)
    return parser


@contextmanager
def _log_lines(shown: int) -> Iterator[None]:
    """Show log lines of the library from a level on, in this context."""
    logger = logging.getLogger("mtlue")
    level = logger.level
    handler = logging.StreamHandler(sys.stderr)
    handler.setLevel(shown)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
