"""The verdict of a report: one word and one sentence."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from mtlue._check import NOT_PROTECTED, WEAKLY_PROTECTED, verdict_on
from mtlue.evaluation._measurement import NO_DEFENSE, PROTECTED
from mtlue.evaluation._rows import Row, no_better_than_noise

NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Verdict:
    """Whether a set is protected, and why.

    Attributes:
        word: ``"protected"``, ``"weakly protected"``, ``"not protected"`` or ``"not measured"``.
        reason: What follows "because" in the sentence.

    Example:
        >>> import mtlue
        >>> from mtlue.evaluation import Measurement, Report
        >>> def measured(data, accuracy):
        ...     values = {"balanced_accuracy": accuracy}
        ...     return Measurement(data, "multi-task", "none", "gender", 0, values, values, best_epoch=1)
        >>> found = [measured("clean", 0.9), measured("random noise", 0.88), measured("protected", 0.54)]
        >>> # As evaluation.audit makes it.
        >>> report = Report({"gender": mtlue.Classification(2)}, 8 / 255, found)
        >>> report.verdict.word
        'protected'
        >>> print(report.verdict)
        protected, because a multi-task victim learns 10 % of what clean images teach it about gender
    """

    word: str
    reason: str

    def __str__(self) -> str:
        """Return the sentence."""
        return f"{self.word}, because {self.reason}"


def verdict_of(rows: Sequence[Row], protected_tasks: Collection[str], lost: Collection[str], *, margin: float) -> Verdict:
    """Judge the rows of a report.

    Undefended victims decide, by the limits of a check (see `mtlue.Check.verdict`) and by the control: a change has to work
    better than noise. If a defence brings a task to "not protected", the protection is weak.

    Args:
        rows: All rows of the report.
        protected_tasks: The tasks that were to be protected.
        lost: Tasks that victims hardly learned from clean images either.
        margin: How much lower than that of noise R has to be.
    """
    counted = [
        row
        for row in rows
        if row.task in protected_tasks and row.task not in lost and math.isfinite(row.residuals.get(PROTECTED, math.nan))
    ]
    undefended = [row for row in counted if row.defense == NO_DEFENSE]
    if not undefended:
        return Verdict(NOT_MEASURED, "no victim learned a task from clean images; train longer")
    worst = max(undefended, key=lambda row: row.residuals[PROTECTED])
    useless = no_better_than_noise(undefended, margin=margin)
    if useless:
        return Verdict(NOT_PROTECTED, f"random noise of the same size does as well for {', '.join(useless)}")
    word = verdict_on(worst.residuals[PROTECTED])
    if word in (NOT_PROTECTED, WEAKLY_PROTECTED):
        return Verdict(word, _sentence(worst))
    broken = max((row for row in counted if row.defense != NO_DEFENSE), key=lambda row: row.residuals[PROTECTED], default=worst)
    if verdict_on(broken.residuals[PROTECTED]) == NOT_PROTECTED:
        return Verdict(WEAKLY_PROTECTED, _sentence(broken))
    return Verdict(word, _sentence(worst))


def _sentence(row: Row) -> str:
    defended = "" if row.defense == NO_DEFENSE else f" with {row.defense}"
    residual = row.residuals[PROTECTED]
    learned = "nothing" if residual <= 0 else f"{100 * residual:.0f} %"
    return f"a {row.victim} victim{defended} learns {learned} of what clean images teach it about {row.task}"
