"""Merge the reports of several methods into one comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from mtlue.evaluation._comparison import Comparison
from mtlue.evaluation._controls import differing_settings
from mtlue.evaluation._measurement import CLEAN, NOISE, PROTECTED, Measurement
from mtlue.evaluation._report import Report

_RESERVED = (CLEAN, NOISE, PROTECTED, "chance")


def compare(reports: Mapping[str, Report | Sequence[Report]]) -> Comparison:
    """Compare several methods by their reports.

    Each method has one report or several, for instance one for each seed of the protection. A run is a report with one of its
    seeds. Figures are means over the runs, with their standard deviation. Victims on clean images and on random noise are
    pooled over all reports; those that `audit` took over with ``controls`` count once.

    Args:
        reports: Reports of `audit` by name of the method, made on the same clean and test sets and with the same settings.

    Raises:
        TypeError: ``reports`` is not a dict of reports or of lists of reports.
        ValueError: ``reports`` is empty, a method has the name of a control, or reports differ in their tasks, settings or
            sets.

    Example:
        >>> import torch
        >>> from mtlue import baselines, evaluation
        >>> halves = torch.eye(2).repeat_interleave(32, dim=1).reshape(2, 1, 8, 8)
        >>> clean = [(halves[index % 2], {"brighter_half": index % 2}) for index in range(16)]
        >>> test = [(0.9 * halves[index % 2], {"brighter_half": index % 2}) for index in range(8)]
        >>> net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 2))
        >>> training = {"epochs": 5, "learning_rate": 0.01, "batch_size": 8, "progress": False, "model": net}
        >>> weak, strong = (baselines.random_noise(clean, epsilon=levels / 255) for levels in (4, 8))
        >>> first = evaluation.audit(weak, clean, test, **training)
        >>> second = evaluation.audit(strong, clean, test, controls=first, **training)
        >>> evaluation.compare({"4 levels": first, "8 levels": second})
        Comparison(4 levels: 1 runs, 8 levels: 1 runs)
    """
    by_method = _checked(reports)
    every = [report for found in by_method.values() for report in found]
    first = every[0]
    controls: dict[str, Measurement] = {}
    methods: list[Measurement] = []
    for name, found in by_method.items():
        runs: dict[tuple[int, int], int] = {}
        for number, report in enumerate(found):
            for each in report.measurements:
                if each.data == PROTECTED:
                    run = runs.setdefault((number, each.seed), len(runs))
                    methods.append(replace(each, data=name, seed=run))
                else:
                    # Victims that audits share count once.
                    controls[repr(each)] = each
    settings = {**first.settings}
    if "seeds" in settings:
        settings["seeds"] = sorted({seed for report in every for seed in report.settings.get("seeds", ())})
    sizes = sorted({report.settings.get("noise_epsilon", report.epsilon) for report in every})
    settings["noise_epsilon"] = sizes[0] if len(sizes) == 1 else sizes
    epsilons = {name: max(report.epsilon for report in found) for name, found in by_method.items()}
    return Comparison(first.tasks, epsilons, [*controls.values(), *methods], settings, first.chance)


def _checked(reports: object) -> dict[str, list[Report]]:
    """Return the reports of each method after checking that they belong together.

    Raises:
        TypeError: ``reports`` is not a dict of reports or of lists of reports.
        ValueError: ``reports`` is empty, a method has the name of a control, or reports do not belong together.
    """
    if not isinstance(reports, Mapping) or not all(isinstance(name, str) for name in reports):
        raise TypeError(f'reports: expected a dict such as {{"mine": report}}, got {type(reports).__name__}')
    if not reports:
        raise ValueError("reports: expected at least one method, got none")
    found = {name: [given] if isinstance(given, Report) else _listed(name, given) for name, given in reports.items()}
    taken = [name for name in found if name in _RESERVED]
    if taken:
        raise ValueError(f"reports: {taken[0]!r} is the name of a control; give the method another")
    (of, (first, *_)), *_ = found.items()
    for name, report in ((name, report) for name, several in found.items() for report in several):
        if dict(report.tasks) != dict(first.tasks):
            raise ValueError(f"reports: {name!r} has the tasks {dict(report.tasks)}, and {of!r} has {dict(first.tasks)}")
        changed = differing_settings(first.settings, report.settings)
        if changed:
            raise ValueError(f"reports: {of!r} and {name!r} were made with different settings or sets: {'; '.join(changed)}")
    return found


def _listed(name: str, given: object) -> list[Report]:
    if not isinstance(given, Sequence) or not given or not all(isinstance(report, Report) for report in given):
        raise TypeError(f"reports[{name!r}]: expected a Report or a list of them, got {given!r}")
    return list(given)
