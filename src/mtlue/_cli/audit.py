"""``mtlue audit``: measure what victims learn from a published folder."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

import mtlue
from mtlue import defenses, evaluation
from mtlue._check import PROTECTED, WEAKLY_PROTECTED
from mtlue._cli.console import say
from mtlue._cli.options import add_compute, add_photos, check_file, compute_settings, levels, natural, positive
from mtlue._cli.photos import find_table, open_table
from mtlue._cli.published import open_pair
from mtlue._fit import OtherRunError
from mtlue._runtime import remove_folder, sole_owner, write_bytes

_DEFENSES: dict[str, defenses.Defense | Callable[[Tensor], Tensor]] = {
    "jpeg": defenses.jpeg,
    "grayscale": defenses.grayscale,
    "bit-depth": defenses.bit_depth,
    "strong-augmentation": defenses.StrongAugmentation(),
    "mixup": defenses.Mixup(),
    "cutmix": defenses.CutMix(),
    "ueraser": defenses.UEraser(),
    "simclr": defenses.SimCLR(),
    "adversarial-training": defenses.AdversarialTraining(),
}
_WRITERS: dict[str, Callable[[evaluation.Report], str]] = {
    ".html": evaluation.Report.to_html,
    ".json": evaluation.Report.to_json,
    ".md": evaluation.Report.to_markdown,
}
_HELP = "measure what can be learned from a protected folder"
_DESCRIPTION = (
    "Train victims on the clean photos, on random noise of the same size and on the protected folder, and measure them on "
    "test photos that nothing was trained on. The exit status is 1 if the folder is not protected. With --report, repeat an "
    "interrupted command to go on where it stopped."
)


def add_to(commands: Any) -> None:
    """Add the command to those of ``mtlue``."""
    parser = commands.add_parser("audit", help=_HELP, description=_DESCRIPTION, allow_abbrev=False)
    add_photos(parser)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="the protected folder")
    parser.add_argument("--test", type=Path, required=True, metavar="PHOTOS", help="folder with clean test photos")
    parser.add_argument(
        "--test-labels",
        type=Path,
        metavar="CSV",
        help="table of the test photos (default: labels.csv in their folder, or beside it)",
    )
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the report here: .html, .json or .md")
    parser.add_argument(
        "--epsilon", type=levels, metavar="LEVELS", help="budget of the protected folder (default: from its manifest)"
    )
    parser.add_argument(
        "--epochs", type=positive, default=60, metavar="N", help="passes of each victim over the photos (default: 60)"
    )
    parser.add_argument("--model", default="resnet18", metavar="NAME", help="backbone of the victims (default: resnet18)")
    parser.add_argument(
        "--defense",
        action="append",
        default=[],
        choices=list(_DEFENSES),
        help="let victims defend themselves like this; repeat it for more",
    )
    parser.add_argument("--multi-task-only", action="store_true", help="train no single-task victims")
    add_compute(parser)
    parser.add_argument(
        "--seeds", type=natural, nargs="+", default=[0], metavar="N", help="train all victims once for each seed (default: 0)"
    )
    parser.set_defaults(run=run, interrupted="interrupted; with --report, repeat the command to go on where it stopped")


def run(options: argparse.Namespace) -> int:
    """Audit the folder.

    Raises:
        ValueError: another command left its work beside the report.
    """
    if options.report is not None:
        check_file(options.report, "--report", _WRITERS)
    clean, protected = open_pair(options, epsilon=options.epsilon or mtlue.verify(options.folder).epsilon)
    test_table = find_table(options.test, options.test_labels, "--test-labels")
    test = open_table(options.test, test_table, options, tasks=clean.tasks, classes=clean.classes)
    work = None if options.report is None else options.report.with_name(f"{options.report.name}.partial")
    try:
        report = evaluation.audit(
            protected,
            clean,
            test,
            model=options.model,
            single_task=[] if options.multi_task_only else None,
            defenses=[_DEFENSES[name] for name in options.defense],
            epochs=options.epochs,
            seeds=options.seeds,
            checkpoint=work,
            **compute_settings(options),
        )
    except OtherRunError as error:
        changed = ", ".join(error.changed)
        raise ValueError(f"--report: {work} was left by a command with another {changed}; repeat that, or delete it") from None
    say(str(report))
    say()
    verdict = str(report.verdict)
    say(f"{verdict[0].upper()}{verdict[1:]}.")
    if options.report is not None:
        write_report(_WRITERS[options.report.suffix](report), options.report)
        if work is not None and work.is_dir():
            remove_folder(work)
        say(f"{options.report}: the report; keep it to yourself, it says what works against the protection")
    return 0 if report.verdict.word in (PROTECTED, WEAKLY_PROTECTED) else 1


def write_report(text: str, path: Path) -> None:
    """Write a report, completely or not at all, and remove what a killed command left of it."""
    with sole_owner(path, argument="--report"):
        write_bytes(text.encode(), path)
