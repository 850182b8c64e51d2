"""Methods beside each other, on cases worked out by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import mtlue
from mtlue.baselines import random_noise
from mtlue.evaluation import Comparison, Measurement, Report, audit, compare
from optional import needs
from page import HOSTILE, Page
from two_tasks import OPTIONS, TASKS, two_task_set

SETTINGS = {"epochs": 6, "seeds": [0]}


def report(
    protected: dict[str, float],
    *,
    seed: int = 0,
    clean: float = 0.9,
    settings: Any = SETTINGS,
    defense: dict[str, float] | None = None,
) -> Report:
    """A report from the accuracy of each binary task on protected images, and with a defence."""
    found = []
    for task, value in protected.items():
        for data, each in (("clean", clean), ("random noise", 0.8), ("protected", value)):
            found.append(measured(data, task, seed, each))
    for task, value in (defense or {}).items():
        found += [measured("clean", task, seed, 0.7, "jpeg"), measured("protected", task, seed, value, "jpeg")]
    return Report(dict.fromkeys(protected, mtlue.Classification(2)), 8 / 255, found, settings)


def measured(data: str, task: str, seed: int, value: float, defense: str = "none") -> Measurement:
    return Measurement(data, "multi-task", defense, task, seed, {"balanced_accuracy": value}, {"balanced_accuracy": value}, 1)


def by_hand() -> Comparison:
    mine = [report({"side": 0.5, "shade": 0.7}), report({"side": 0.6, "shade": 0.7}, seed=1)]
    return compare({"mine": mine, "TAP": report({"side": 0.7, "shade": 0.58}, defense={"side": 0.6, "shade": 0.9})})


def test_means_spreads_and_shares() -> None:
    side, shade, *defended = by_hand().rows()
    assert side.values == pytest.approx({"clean": 0.9, "random noise": 0.8, "mine": 0.55, "TAP": 0.7})
    assert side.spreads == pytest.approx({"clean": 0.0, "random noise": 0.0, "mine": math.sqrt(0.005), "TAP": 0.0})
    assert side.residuals == pytest.approx({"random noise": 0.75, "mine": 0.125, "TAP": 0.5})
    assert shade.residuals == pytest.approx({"random noise": 0.75, "mine": 0.5, "TAP": 0.2})
    # The runs of "mine" have a mean R of 0.25 and of 0.375.
    means = by_hand().mean_residuals([side, shade])
    assert means["mine"] == pytest.approx((0.3125, 0.125 / math.sqrt(2)))
    assert means["TAP"] == pytest.approx((0.35, 0.0))
    assert [row.values for row in defended] == [pytest.approx({"clean": 0.7, "TAP": each}) for each in (0.6, 0.9)]
    assert repr(by_hand()) == "Comparison(mine: 2 runs, TAP: 1 runs)"


def test_one_table_says_it_all() -> None:
    assert by_hand().to_markdown().splitlines() == [
        "| victim | trained on | side | shade | R |",
        "|---|---|---:|---:|---:|",
        "| multi-task | chance | 50.0 | 50.0 | 0.00 |",
        "| multi-task | clean | 90.0 | 90.0 | 1.00 |",
        "| multi-task | random noise | 80.0 | 80.0 | 0.75 |",
        "| multi-task | mine | **55.0 ± 7.1** | 70.0 | **0.31 ± 0.09** |",
        "| multi-task | TAP | 70.0 | **58.0** | 0.35 |",
        "| multi-task, jpeg | chance | 50.0 | 50.0 | 0.00 |",
        "| multi-task, jpeg | clean | 70.0 | 70.0 | – |",
        "| multi-task, jpeg | TAP | 60.0 | 90.0 | 0.62 |",
        "",
        "Balanced accuracy (%) on clean test images, mean ± standard deviation over runs (mine 2, TAP 1).",
        "R: the share of what clean images teach that is still learned (0 = nothing, 1 = all), mean over tasks; bold = lowest.",
    ]


def test_the_same_table_in_latex() -> None:
    lines = by_hand().to_latex().splitlines()
    assert lines[2:5] == [r"\begin{tabular}{llrrr}", r"\toprule", r"victim & trained on & side & shade & R \\"]
    assert r"multi-task & mine & \textbf{55.0 $\pm$ 7.1} & 70.0 & \textbf{0.31 $\pm$ 0.09} \\" in lines
    assert lines.count(r"\midrule") == 2
    assert lines[-2:] == [r"\bottomrule", r"\end{tabular}"]
    hostile = compare({"a_b & 50 %": report({"si\\de_1": 0.6}), "c|d": report({"si\\de_1": 0.7})})
    assert r"si\textbackslash{}de\_1" in hostile.to_latex()
    assert r"a\_b \& 50 \%" in hostile.to_latex()
    assert r"| multi-task | c\|d |" in hostile.to_markdown()


def test_json_has_rows_and_measurements() -> None:
    content = json.loads(by_hand().to_json())
    assert content["rows"][0]["values"]["mine"] == pytest.approx(0.55)
    assert content["rows"][0]["spreads"]["mine"] == pytest.approx(math.sqrt(0.005))
    assert {(each["data"], each["seed"]) for each in content["measurements"] if each["defense"] == "none"} == {
        ("clean", 0), ("clean", 1), ("random noise", 0), ("random noise", 1), ("mine", 0), ("mine", 1), ("TAP", 0),
    }  # fmt: skip


def test_a_page_of_its_own() -> None:
    page = Page(by_hand().to_html())
    assert [each["class"] for each in page.attributes("td")].count("number strong") == 3
    assert (
        page.text.index("What is left to learn")
        < page.text.index("Multi-task, jpeg victims")
        < page.text.index("Settings and seeds")
    )
    hostile = compare({HOSTILE: report({HOSTILE: 0.6})}).to_html()
    assert "<script" not in hostile
    assert Page(hostile).text.count(HOSTILE) >= 4


def test_a_chart(tmp_path: Path) -> None:
    needs("matplotlib", extra="plot")
    figure = by_hand().plot(tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(b"\x89PNG")
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["clean", "random noise", "mine", "TAP", "chance"]
    undefended = figure.axes[0]
    # Clean, noise, and both methods for two tasks, beside the empty bars of the legend.
    assert sorted(round(bar.get_height(), 3) for bar in undefended.patches if bar.get_height()) == [
        55.0, 58.0, 70.0, 70.0, 80.0, 80.0, 90.0, 90.0,
    ]  # fmt: skip
    assert figure.get_supxlabel() == "ε = 8/255; measured on clean test images"
    differing = replace(by_hand(), epsilons={"mine": 56 / 255, "TAP": 8 / 255}).plot()
    assert differing.get_supxlabel() == "ε = 8/255 to 56/255; measured on clean test images"


def test_controls_that_are_shared_count_once() -> None:
    clean, test = two_task_set(32, 0), two_task_set(32, 1)
    options = {**OPTIONS, "epochs": 2, "single_task": [], "seeds": (0, 1)}
    first = audit(random_noise(clean, tasks=TASKS, seed=5), clean, test, **options)
    second = audit(random_noise(clean, tasks=TASKS, seed=6), clean, test, controls=first, **options)
    both = compare({"one": first, "two": second})
    assert sum(each.data == "clean" for each in both.measurements) == 2 * len(TASKS)
    for row, own in zip(both.rows(), first.rows(), strict=True):
        assert row.values["one"] == own.values["protected"]
        assert row.residuals["one"] == pytest.approx(own.residuals["protected"], nan_ok=True)
        assert {name: row.values[name] for name in ("clean", "random noise")} == {
            name: own.values[name] for name in ("clean", "random noise")
        }


def test_what_differs_is_said_below_the_table() -> None:
    other = report({"side": 0.6}, settings={**SETTINGS, "noise_epsilon": 4 / 255})
    other = Report(other.tasks, 4 / 255, other.measurements, other.settings)
    notes = compare({"mine": report({"side": 0.6}), "small": other}).notes()
    assert notes[2:] == [
        "The budgets differ: mine 8/255, small 4/255.",
        "Random noise is the mean over several sizes: 4/255, 8/255.",
    ]
    assert compare({"mine": report({"side": 0.5}, clean=0.51)}).notes()[-1] == (
        "Hardly learned from clean images either, and left out of R: side."
    )


@pytest.mark.parametrize(
    ("reports", "error", "words"),
    [
        ([], TypeError, "reports: expected a dict such as"),
        ({}, ValueError, "reports: expected at least one method, got none"),
        ({"mine": []}, TypeError, r"reports\['mine'\]: expected a Report or a list of them, got \[\]"),
        ({"mine": "report.json"}, TypeError, r"reports\['mine'\]: expected a Report or a list of them"),
        ({"clean": report({"side": 0.5})}, ValueError, "reports: 'clean' is the name of a control"),
        (
            {"a": report({"side": 0.5}), "b": report({"shade": 0.5})},
            ValueError,
            "reports: 'b' has the tasks .*shade.*, and 'a' has .*side",
        ),
        (
            {"a": report({"side": 0.5}), "b": [report({"side": 0.5}, settings={**SETTINGS, "epochs": 9})]},
            ValueError,
            "reports: 'a' and 'b' were made with different settings or sets: epochs was 6, is 9",
        ),
    ],
)
def test_reports_that_do_not_belong_together(reports: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        compare(reports)


def test_a_figure_that_is_not_a_number_spoils_no_table() -> None:
    both = [report({"a|b": 0.5, "shade": math.nan}), report({"a|b": 0.6, "shade": 0.7}, seed=1)]
    shown = compare({"mine": both})
    first, second = shown.rows()
    assert math.isnan(second.spreads["mine"])
    assert shown.mean_residuals([first, second])["mine"] == pytest.approx((0.125, 0.25 / math.sqrt(2)))
    assert all(line.replace(r"\|", "").count("|") == 12 for line in both[0].to_markdown().splitlines() if line.startswith("|"))
    assert "| mine |" in str(shown.to_markdown())
