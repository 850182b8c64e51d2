"""The page of a report."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mtlue._check import NOT_PROTECTED, PROTECTED, WEAKLY_PROTECTED
from mtlue.evaluation._examples import Example
from mtlue.evaluation._html import bars, page, paragraph, picture, section, table
from mtlue.evaluation._measurement import NO_DEFENSE, SINGLE
from mtlue.evaluation._metrics import headlines_of
from mtlue.evaluation._report_table import HEADER, TEXTS, cells_of
from mtlue.evaluation._rows import Row
from mtlue.evaluation._verdict import NOT_MEASURED, Verdict

if TYPE_CHECKING:
    from mtlue.evaluation._report import Report

_TASK = HEADER.index("task")
_STYLES = {PROTECTED: "good", WEAKLY_PROTECTED: "weak", NOT_PROTECTED: "bad", NOT_MEASURED: "weak"}


def report_page(report: Report) -> str:
    """Return a page with the verdict first. `mtlue.evaluation.Report.to_html` says what is on it."""
    rows, verdict = report.rows(), report.verdict
    undefended = [row for row in rows if row.defense == NO_DEFENSE]
    defended = [row for row in rows if row.defense != NO_DEFENSE]
    learned = (
        "What a multi-task victim without a defence learns of each task (R): 0 is nothing, 1 as much as from clean images."
    )
    return page(
        f"Audit: {verdict.word}",
        [
            banner(verdict),
            section("Tasks", paragraph(learned), bars(_known(report)), _tasks(report)),
            section("Victims without a defence", _results(undefended, report)),
            section("Victims with a defence", _results(defended, report)),
            section("What the figures mean", *map(paragraph, report.notes())),
            section("Examples", gallery(report.examples)),
            section("Settings and seeds", settings_table(report.settings)),
            footer(),
        ],
    )


def _known(report: Report) -> dict[str, float]:
    """Return R of each task; NaN where R says nothing."""
    lost = report.hardly_learned()
    return {name: math.nan if name in lost else value for name, value in report.residual_learnability.items()}


def _tasks(report: Report) -> str:
    headlines, chance = headlines_of(report.tasks), report.chance
    rows = []
    for name, task in report.tasks.items():
        counted = headlines.get(name)
        known = chance.get(name, math.nan) if counted is None or counted.chance is None else counted.chance
        rows.append([name, repr(task), "–", "–"] if counted is None else [name, repr(task), counted.title, counted.text(known)])
    return table("Kinds of task, and what guessing reaches", ["task", "kind", "metric", "chance"], rows, texts=3)


def banner(verdict: Verdict) -> str:
    """Return the verdict, set off from the rest."""
    style = _STYLES[verdict.word]
    word = verdict.word.capitalize()
    return f'<p class="verdict {style}"><strong>{escape(word)}</strong> <span>because {escape(verdict.reason)}.</span></p>'


def _results(rows: Sequence[Row], report: Report) -> str:
    """Return a table for each victim, without the columns that its caption and the table of tasks cover."""
    tables = []
    for victim, defense in dict.fromkeys((row.victim, row.defense) for row in rows):
        group = [row for row in rows if (row.victim, row.defense) == (victim, defense)]
        cells = cells_of(group, headlines_of(report.tasks), report.rows())
        caption = f"{victim.capitalize()} victim{'s' if victim == SINGLE else ''}"
        caption += "" if defense == NO_DEFENSE else f" with {defense}"
        tables.append(table(caption, _told(HEADER), list(map(_told, cells)), texts=1))
    return "\n".join(tables)


def _told(cells: Sequence[str]) -> list[str]:
    return [cells[_TASK], *cells[TEXTS:]]


def gallery(examples: Sequence[Example]) -> str:
    """Return pictures of the examples with their measures below. Empty if there are no examples."""
    if not examples:
        return ""
    figures = []
    for each in examples:
        change = each.protected.float() - each.clean.float()
        shown = {"clean": each.clean, "perturbation, stretched": _stretched(change), "protected": each.protected}
        pictures = "".join(picture(image, f"Image {each.index}, {name}") for name, image in shown.items())
        quality = f"Image {each.index}: PSNR {_decibels(each.psnr)}, SSIM {_number(each.ssim)}"
        figures.append(f"<figure><div>{pictures}</div><figcaption>{escape(quality)}</figcaption></figure>")
    text = "Clean, perturbation and protected. A perturbation is stretched to all levels: you see its form, not its size."
    return paragraph(text) + '\n<div class="pictures">\n' + "\n".join(figures) + "\n</div>"


def _stretched(change: Tensor) -> Tensor:
    low, high = change.amin(), change.amax()
    return torch.where(high > low, 255 * (change - low) / (high - low), 127.5).round().byte()


def _decibels(psnr: float) -> str:
    return f"{psnr:.1f} dB" if math.isfinite(psnr) else "∞"


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "–"


def settings_table(settings: Mapping[str, Any]) -> str:
    """Return a table of the settings, one a line. Empty if there are none."""
    rows = [[name.replace("_", " "), _text(value)] for name, value in settings.items()]
    return table("How victims were trained", ["setting", "value"], rows, texts=2, long=True) if rows else ""


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {_text(each)}" for name, each in value.items()) or "none"
    if isinstance(value, list | tuple):
        return ", ".join(map(_text, value)) or "none"
    return "default" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def footer() -> str:
    """Return a line that says what made the page."""
    return f"<footer>mtlue {escape(version('mtlue'))}. Keep it to yourself: it says what works against the protection.</footer>"
