"""Writes the tables of the README and of some pages of docs from the figures in benchmarks/results.

With ``--check`` it changes nothing, and fails if a table does not say what the figures say.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import dense_default
import large_set
import many_ranks
import throughput
from measure.page import strength_tables
from mtlue.evaluation import Report
from rates.costs import costs_table, parts, parts_table, storage_table
from rates.table import throughput_table
from robust.table import calls_table, fuzzed_table, tampered_table

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
#: Pages of docs with tables, beside the README.
PAGES = ("dense", "results", "robustness", "strength", "threats", "cost", "scale")


def read(name: str) -> dict[str, Any]:
    """Figures of one run."""
    figures: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return figures


def quickstart_table() -> str:
    """What victims learn from the quickstart's sets."""
    lines = ["| victim | task | clean | random noise | protected | R |", "|---|---|---:|---:|---:|---:|"]
    for row in Report.from_json((RESULTS / "quickstart.json").read_text()).rows():
        values = " | ".join(f"{100 * row.values[data]:.1f}" for data in ("clean", "random noise", "protected"))
        lines.append(f"| {row.victim} | {row.task} | {values} | {row.residuals['protected']:.2f} |")
    return "\n".join(lines)


def quickstart_short_table() -> str:
    """What one multi-task victim learns from the quickstart's clean and protected images."""
    report = Report.from_json((RESULTS / "quickstart.json").read_text())
    lines = ["| label | trained on clean images | trained on protected images |", "|---|---:|---:|"]
    for row in report.rows():
        if row.victim == "multi-task":
            clean, protected = (f"{100 * row.values[data]:.1f}" for data in ("clean", "protected"))
            lines.append(f"| {row.task} (chance {100 * report.chance[row.task]:.0f}) | {clean} | {protected} |")
    return "\n".join(lines)


def injection_table() -> str:
    """Cost of a training step."""
    figures = read("injection")
    lines = ["| generator | ms an image |", "|---|---:|"]
    scale = 1000 / figures["batch_size"]
    lines += [f"| {name} | {scale * seconds:.0f} |" for name, seconds in figures["seconds_a_step"].items()]
    lines += [
        "",
        f"Literal over factored at K=40: **{figures['literal_over_factored']:.2f}**. K=40 over K=3, factored: "
        f"**{figures['k40_over_k3']:.2f}**. Medians of ratios within a round, {figures['rounds']} rounds, batch "
        f"{figures['batch_size']}, {figures['machine']}, torch {figures['torch']}.",
    ]
    return "\n".join(lines)


def bound_table() -> str:
    """Base loss after the last epoch."""
    runs = read("bound")["runs"]
    lines = ["| Adam | seed | tanh | clip |", "|---|---|---:|---:|"]
    last = {(run["learning_rate"], run["seed"], run["bound"]): run["base_loss"][-1] for run in runs}
    for rate, seed in sorted({(rate, seed) for rate, seed, _ in last}):
        lines.append(f"| {rate:g} | {seed} | {last[rate, seed, 'tanh']:.3f} | {last[rate, seed, 'clip']:.3f} |")
    return "\n".join(lines)


def dense_surrogate_table() -> str:
    """What victims learn, a row for each number and age of surrogates and seed, with the ratio to clean images of that seed."""
    runs = read("dense-surrogate")["runs"]
    clean = {run["seed"]: run["metrics"] for run in runs if run["trained_on"] == "clean"}
    lines = [
        "| trained on | surrogates | epochs | seed | mIoU | pixel accuracy | depth, absolute error | normals, mean angle |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    shown = {"segmentation": {"miou": 100, "pixel_accuracy": 100}, "depth": {"absolute_error": 1}, "normals": {"mean_angle": 1}}
    for run in sorted(runs, key=lambda run: (run["surrogates"], run["surrogate_epochs"] or 0, run["trained_on"], run["seed"])):
        cells = []
        for task, scales in shown.items():
            for metric, scale in scales.items():
                value, reference = run["metrics"][task][metric], clean[run["seed"]][task][metric]
                cells.append(f"{scale * value:.3g}" + (f" ({value / reference:.2f})" if run["trained_on"] != "clean" else ""))
        row = (run["trained_on"], run["surrogates"] or "–", run["surrogate_epochs"] or "–", run["seed"], *cells)
        lines.append(f"| {' | '.join(map(str, row))} |")
    return "\n".join(lines)


def many_attributes_table() -> str:
    """What is left to learn after each change."""
    runs = read("many-attributes")["runs"]
    lines = ["| changed | method | balanced accuracy | R |", "|---|---|---:|---:|"]
    for run in runs:
        left = f"{run['R']:.2f}" if "R" in run else "–"
        lines.append(f"| {run['change'] or '–'} | {run['method']} | {100 * run['balanced_accuracy']:.1f} | {left} |")
    return "\n".join(lines)


def threat_table() -> str:
    """What is left to learn after each attack, and how near its images come to the clean ones, for each set side by side."""
    records = read("threat")["attacks"]
    sets = list(dict.fromkeys(record["set"] for record in records))
    found = {(record["set"], record["has"], record["does"]): record for record in records}
    lines = [
        f"| the attacker has | and | {' | '.join(f'{name}: R | PSNR' for name in sets)} |",
        f"|---|---|{'---|---:|' * len(sets)}",
    ]
    for has, does in dict.fromkeys((record["has"], record["does"]) for record in records):
        cells = [_threat_cells(found.get((name, has, does))) for name in sets]
        lines.append(f"| {has} | {does} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _threat_cells(record: dict[str, Any] | None) -> str:
    if record is None:
        return "– | –"
    tasks = ", ".join(f"{task} {value:.2f}" for task, value in record["R"].items())
    return f"{record['mean']:.2f} ({tasks}) | " + ("–" if record["psnr"] is None else f"{record['psnr']:.1f}")


def cost_tables() -> dict[str, str]:
    """What a million images cost, and the parts of it."""
    figures = {name: read(f"throughput/{name}") for name in ("large", "cpu", "cuda")}
    each = parts(**figures)
    return {
        "cost-parts": parts_table(each),
        "cost-storage": storage_table(each),
        "cost-default": costs_table(each),
        "cost-short": costs_table(each, trained_on=large_set.SHORT_TRAINING),
    }


def mutants_text() -> str:
    """How many mutants the tests noticed."""
    figures, later = read("mutants"), read("mutants-later")
    survivors = [*figures["survivors"], *later["survivors"]]
    return (
        f"Of {figures['places']:,} places in the tasks, the generator, the losses and the stores, {figures['drawn']} were "
        "drawn and broken one at a time: an operator, a number or a condition. The tests noticed "
        f"{figures['noticed']}. Of {later['places']} places in what was added later, mostly for several processes, "
        f"{later['drawn']} were drawn, and {later['noticed']} noticed. The other {len(survivors)} change nothing that a test "
        "need notice; `benchmarks/results/mutants-explained.md` says why."
    )


def good_runs_text() -> str:
    """How many good runs the look at weak outcomes warns of."""
    runs: Any = read("good-runs")
    default = sum(run["recipe"] == "mtlue.protect" for run in runs)
    return (
        f"It was shown {len(runs)} generators that protect their sets well (R below 0.3 for a full multi-task victim, as a "
        f"mean over tasks), {default} of them made by today's default and the others by its variants. It warned of "
        f"{sum(bool(run['warnings']) for run in runs)}."
    )


def tables() -> dict[str, str]:
    """All tables by the name of their place."""
    return {
        **cost_tables(),
        "quickstart": quickstart_table(),
        "quickstart-short": quickstart_short_table(),
        "injection": injection_table(),
        "bound": bound_table(),
        "dense-default": dense_default.table(read("dense-default")),
        "dense-surrogate": dense_surrogate_table(),
        "many-attributes": many_attributes_table(),
        "threat": threat_table(),
        **strength_tables(RESULTS / "strength" / "cells.json"),
        "throughput": throughput_table(throughput.read(throughput.RESULTS)),
        "robustness-calls": calls_table(read("robustness")),
        "robustness-ranks": calls_table(read("robustness"), "ranks"),
        "robustness-files": tampered_table(read("robustness")),
        "robustness-fuzzed": fuzzed_table(read("robustness")),
        "mutants": mutants_text(),
        "ranks": many_ranks.table(read("ranks")),
        "good-runs": good_runs_text(),
    }


def filled(page: str, name: str, content: str) -> str:
    """A page with a table in its place, if it has one."""
    # An empty place ends at once: what lies between two tables is not part of it.
    place = re.compile(rf"(<!-- table: {name} -->\n)(?:.*?\n)??(<!-- end -->)", re.DOTALL)
    return place.sub(lambda match: f"{match[1]}{content}\n{match[2]}", page)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    stale = []
    for page in (ROOT / "README.md", *(ROOT / "docs" / f"{name}.md" for name in PAGES)):
        before = page.read_text()
        after = before
        for name, content in tables().items():
            after = filled(after, name, content)
        if after != before:
            stale.append(page.name)
            if not arguments.check:
                page.write_text(after)
    if stale and arguments.check:
        sys.exit(f"not what the figures say, run benchmarks/render.py: {', '.join(stale)}")


if __name__ == "__main__":
    main()
