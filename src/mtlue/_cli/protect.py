"""``mtlue protect``: turn photos and labels into a folder to publish."""

from __future__ import annotations

import argparse
import time
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import mtlue
from mtlue._check import NOT_PROTECTED, PROTECTED, WEAKLY_PROTECTED
from mtlue._cli.console import complain, duration, say
from mtlue._cli.dry_run import rehearse
from mtlue._cli.key import existing_key
from mtlue._cli.losses import NAMES, sep_settings, training_settings
from mtlue._cli.options import add_compute, add_photos, levels, natural, positive
from mtlue._cli.photos import Photos
from mtlue._cli.publication import Publication
from mtlue._runtime import sole_owner

# Options that decide the result. A repeated command is recognised by them.
_SETTINGS = ("tasks", "image_column", "image_size", "channels", "loss", "epochs", "epsilon", "seed")
_LEGEND = "R: what is still learned, as a share of what clean photos teach; ±: how much may be luck, less with more photos"
_HELP = "protect a folder of photos"
_DESCRIPTION = (
    "Protect a folder of photos with a table of labels, and write a folder to publish. If a command was interrupted, "
    "repeat it: it goes on where it stopped."
)


def add_to(commands: Any) -> None:
    """Add the command to those of ``mtlue``."""
    parser = commands.add_parser("protect", help=_HELP, description=_DESCRIPTION, allow_abbrev=False)
    add_photos(parser)
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="folder to write; it must be new, or empty")
    parser.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="save the key to this file, or use it if the file exists; it can undo the protection",
    )
    parser.add_argument(
        "--names",
        type=Path,
        metavar="FILE",
        help="write a private table to this file: which photo became which file of the folder",
    )
    parser.add_argument("--tasks", nargs="+", metavar="COLUMN", help="columns to protect (default: those that can be tasks)")
    parser.add_argument("--loss", choices=NAMES, help="how to protect (default: what protects best)")
    parser.add_argument("--epochs", type=positive, metavar="N", help="passes over the photos (default: what protects well)")
    parser.add_argument(
        "--epsilon", type=levels, metavar="LEVELS", help="how much a pixel may change (default: 8, of 255 levels)"
    )
    add_compute(parser)
    parser.add_argument("--seed", type=natural, default=0, metavar="N", help="equal seeds give equal photos (default: 0)")
    parser.add_argument("--no-check", action="store_true", help="do not check what a small network still learns")
    parser.add_argument("--dry-run", action="store_true", help="show what was read and what would run, and write nothing")
    parser.set_defaults(run=run, interrupted="interrupted; repeat the command to go on where it stopped")


def run(options: argparse.Namespace) -> int:
    """Protect the photos.

    Raises:
        FileExistsError: the table of names exists already.
        ValueError: no folder to write to is named, or a private file would be published.
    """
    photos = Photos.read(options, options.tasks)
    if options.dry_run:
        rehearse(photos, options)
        return 0
    if options.out is None:
        raise ValueError("--out: name the folder to write")
    _check_private(options.key, "--key", options.out)
    _check_private(options.names, "--names", options.out)
    photos.describe()
    began = time.monotonic()
    settings = {name: getattr(options, name) for name in _SETTINGS}
    with Publication.claim(options.out, settings) as publication:
        if options.names is not None and options.names.exists() and publication.finished is None:
            raise FileExistsError(f"--names: {options.names} exists; choose another file")
        if not publication.is_published:
            protected = _protected(photos, options, publication)
            complain(f"writing {len(protected)} images to {options.out}")
            publication.publish(partial(protected.export, names=options.names))
        note = publication.finished or {}
        publication.remove()
    took = duration(time.monotonic() - began)
    verdicts = note.get("verdicts", ())
    failed = NOT_PROTECTED in verdicts
    if failed:
        result = "photos and their labels, not protected well enough to publish"
    elif PROTECTED in verdicts or WEAKLY_PROTECTED in verdicts:
        result = "protected photos and their labels, ready to publish"
    else:
        result = "protected photos and their labels; how well is not known, so run mtlue audit before you publish"
    say(f"{options.out}: {len(photos.dataset)} {result}; it took {took}")
    if options.key is not None:
        say(f"{options.key}: the key, which can undo the protection; keep it to yourself")
    if options.names is not None:
        say(f"{options.names}: which photo became which file; keep it to yourself")
    if note.get("check"):
        say(note["check"])
        if "±" in note["check"]:
            say(_LEGEND)
    if failed or WEAKLY_PROTECTED in verdicts:
        say(_advice(options, len(photos.dataset.tasks)))
    return 1 if failed else 0


def _advice(options: argparse.Namespace, tasks: int) -> str:
    """Return what may help a set that is not protected, in the order of what helped in benchmarks/strength.py."""
    cures = {
        "without --loss": options.loss is not None,
        "with more --epochs": options.epochs is not None,
        "with a larger --epsilon": True,
        "with fewer --tasks": tasks > 1,
    }
    listed = ", or ".join(cure for cure, applies in cures.items() if applies)
    place = "to a new folder" if options.key is None else "to a new folder and with a new key"
    return f"try again {listed}, {place}; mtlue audit measures the protection in full"


def _protected(photos: Photos, options: argparse.Namespace, publication: Publication) -> Any:
    """Return the protected set in its store: finished by an interrupted command, or new.

    Raises:
        ValueError: a key exists and does not fit the options, or is damaged.
    """
    done = publication.open_store(photos.dataset)
    if done is not None and (publication.finished is not None or options.key is None or options.key.exists()):
        return done
    if done is not None:
        # A kill between the last image and the key has deleted the key too.
        publication.drop_store()
    # Its advice is meant for callers from Python.
    warnings.filterwarnings("ignore", message="check: .*What may help")
    settings = training_settings(options)
    key = existing_key(options)
    if key is not None:
        settings["generator"] = key
    elif options.loss == "sep":
        settings |= sep_settings(options, photos.dataset, publication.work)
    if options.no_check:
        settings["check"] = False
    protected: Any = mtlue.protect(photos.dataset, path=publication.store, **settings)
    if options.key is not None and not options.key.exists():
        if protected.generator is None:
            # A kill during the removal of the work has deleted it too: `protect` found the finished store.
            publication.drop_store()
            return _protected(photos, options, publication)
        protected.generator.save(options.key)
    check = None if options.no_check else protected.check
    publication.finish_store({} if check is None else {"check": str(check), "verdicts": list(check.verdict.values())})
    return protected


def _check_private(file: Path | None, option: str, out: Path) -> None:
    """Refuse a private file inside the folder to publish, or one that cannot be written, before hours of work.

    Raises:
        BlockingIOError: another command is writing it.
        ValueError: the file is refused.
    """
    if file is None:
        return
    path, public = file.resolve(), out.resolve()
    if public == path or public in path.parents:
        raise ValueError(f"{option}: {file} would be published with {out}; keep it elsewhere")
    if not path.parent.is_dir():
        raise ValueError(f"{option}: make the folder first: {file.parent}")
    with sole_owner(file, argument=option):
        pass  # removes what a killed command left beside it
