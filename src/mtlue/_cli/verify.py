"""``mtlue verify``: check that a folder is as it was written."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import mtlue
from mtlue._cli.console import complain, say

_HELP = "compare a protected folder with its manifest"
_DESCRIPTION = "Compare a protected folder with its manifest. The exit status is 1 if something is missing or was changed."


def add_to(commands: Any) -> None:
    """Add the command to those of ``mtlue``."""
    parser = commands.add_parser("verify", help=_HELP, description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="the protected folder")
    parser.set_defaults(run=run, interrupted="interrupted")


def run(options: argparse.Namespace) -> int:
    """Verify the folder.

    Raises:
        FileNotFoundError: the folder does not exist.
    """
    if not options.folder.is_dir():
        raise FileNotFoundError(f"{options.folder} is not a folder; name a protected folder")
    try:
        found = mtlue.verify(options.folder)
    except ValueError as error:
        complain(f"not intact: {error}")
        return 1
    say(f"{options.folder}: intact, {found.length} photos, {found.files} files")
    say(f"tasks: {', '.join(found.tasks)}; budget: {255 * found.epsilon:.3g} of 255 levels a pixel")
    return 0
