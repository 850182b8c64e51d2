"""The page of a report, and its verdict, on cases worked out by hand."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
import torch

import mtlue
from browser import layout
from mtlue import evaluation
from mtlue.evaluation import Example, Measurement, Report
from page import HOSTILE, Page

SETS = {"clean": "clean", "noise": "random noise", "protected": "protected"}


def report(*, task: str = "side", settings: dict[str, object] | None = None, **accuracies: float) -> Report:
    """A report of one binary task; of what is named after a defence, such as ``jpeg``, that on protected images."""
    found = []
    for name, value in accuracies.items():
        values = {"balanced_accuracy": value}
        defense = "none" if name in SETS else name
        found.append(Measurement(SETS.get(name, "protected"), "multi-task", defense, task, 0, values, values, 1))
    return Report({task: mtlue.Classification(2)}, 8 / 255, found, settings or {})


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        (
            {"clean": 0.9, "noise": 0.9, "protected": 0.62},
            "weakly protected, because a multi-task victim learns 30 % of what clean images teach it about side",
        ),
        (
            {"clean": 0.9, "noise": 0.9, "protected": 0.45},
            "protected, because a multi-task victim learns nothing of what clean images teach it about side",
        ),
        (
            {"clean": 0.9, "noise": 0.9, "protected": 0.7},
            "weakly protected, because a multi-task victim learns 50 % of what clean images teach it about side",
        ),
        (
            {"clean": 0.9, "noise": 0.9, "protected": 0.6, "jpeg": 0.8},
            "weakly protected, because a multi-task victim with jpeg learns 75 % of what clean images teach it about side",
        ),
        (
            {"clean": 0.9, "noise": 0.9, "protected": 0.6, "jpeg": 0.7},
            "protected, because a multi-task victim learns 25 % of what clean images teach it about side",
        ),
        (
            {"clean": 0.9, "noise": 0.9, "protected": 0.78},
            "not protected, because a multi-task victim learns 70 % of what clean images teach it about side",
        ),
        (
            {"clean": 0.9, "noise": 0.6, "protected": 0.6},
            "not protected, because random noise of the same size does as well for side",
        ),
        (
            {"clean": 0.52, "noise": 0.52, "protected": 0.5},
            "not measured, because no victim learned a task from clean images; train longer",
        ),
    ],
)
def test_the_verdict(accuracies: dict[str, float], verdict: str) -> None:
    assert str(report(**accuracies).verdict) == verdict
    page = Page(report(**accuracies).to_html())
    word, _, reason = verdict.partition(", ")
    # The first thing below the heading.
    assert re.search(rf"Audit: {word}\s+{word.capitalize()} {re.escape(reason)}\.", page.text)


def test_tasks_that_were_not_to_be_protected_do_not_count() -> None:
    accuracies = {"clean": 0.9, "noise": 0.9, "protected": 0.9}
    assert report(settings={"protected_tasks": ["other"]}, **accuracies).verdict.word == "not measured"


def example() -> Example:
    image = torch.randint(256, (3, 12, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    return Example(7, image, image.flip(0), 31.25, math.nan)


def full() -> Report:
    made = report(clean=0.9, noise=0.9, protected=0.6, jpeg=0.7, settings={"seeds": [0, 3], "learning_rate": 1e-3})
    return Report(made.tasks, made.epsilon, made.measurements, made.settings, {}, [example()])


def test_a_page_stands_alone_and_is_accessible() -> None:
    text = full().to_html()
    page = Page(text)
    assert page.attributes("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.attributes("meta")
    assert not page.attributes("script") + page.attributes("link")
    assert "http" not in text
    assert "url(" not in text
    pictures = page.attributes("img")
    assert len(pictures) == 3
    assert all(str(each["src"]).startswith("data:image/png;base64,") for each in pictures)
    assert [each["alt"] for each in pictures] == ["Image 7, clean", "Image 7, perturbation, stretched", "Image 7, protected"]
    # Each table stands in a box that can be scrolled by the keyboard, and has a caption and headings.
    boxes = [each for each in page.attributes("div") if each.get("class") == "scroll"]
    assert len(boxes) == len(page.attributes("table")) == len(page.attributes("caption")) == 4
    assert all(each["tabindex"] == "0" and each["aria-label"] for each in boxes)
    assert all(each["scope"] in {"row", "col"} for each in page.attributes("th"))
    assert "prefers-color-scheme: dark" in text


def test_a_cell_says_where_it_stands_once_its_row_is_a_block() -> None:
    page = Page(full().to_html())
    roles = {"table": {"table"}, "td": {"cell"}}
    assert all({each["role"] for each in page.attributes(tag)} == found for tag, found in roles.items())
    columns = [each["data-column"] for each in page.attributes("td") if "data-column" in each]
    assert columns[:3] == ["kind", "metric", "chance"]
    assert (
        columns[3:10]
        == columns[10:]
        == ["chance", "clean", "random noise", "protected", "best epoch", "R noise", "R protected"]
    )
    # A setting has a name and a value, and needs no other.
    assert len(page.attributes("td")) == len(columns) + len(full().settings)


@pytest.mark.parametrize("width", [320, 390, 900, 1280])
def test_no_window_is_too_narrow_for_a_page(width: int, tmp_path: Path) -> None:
    task = "wears_a_coat_that_reaches_to_the_knees"
    spread = [
        Measurement(each.data, each.victim, defense, task, seed, values, values, 1)
        for each in full().measurements
        for defense in ("none", "strong augmentation")
        for seed, values in enumerate([each.last, {"balanced_accuracy": 0.1}])
    ]
    made = Report({task: mtlue.Classification(2)}, 8 / 255, spread, {"sizes": ["resnet18"] * 30}, {}, [example()])
    assert layout(made.to_html(), tmp_path, width=width) == (width, 0)


@pytest.mark.parametrize("empty", [{}, []])
def test_an_empty_setting_says_so(empty: object) -> None:
    text = Page(report(clean=0.9, settings={"defenses": empty, "seeds": [0]}).to_html()).text
    assert "defensesnone" in "".join(line.strip() for line in text.splitlines())


def test_a_page_has_all_parts_in_their_order() -> None:
    text = Page(full().to_html()).text
    parts = [
        "Protected because",
        "Tasks",
        "Victims without a defence",
        "Victims with a defence",
        "Multi-task victim with jpeg",
        "Examples",
        "Image 7: PSNR 31.2 dB, SSIM –",
        "Settings and seeds",
        "seeds0, 3",
        "learning rate0.001",
    ]
    words = "".join(line.strip() for line in text.splitlines())
    places = [words.find(part) for part in parts]
    assert min(places) >= 0
    assert places == sorted(places)


def test_hostile_names_are_text() -> None:
    accuracies = {"clean": 0.9, "noise": 0.9, "protected": 0.7}
    made = report(task=HOSTILE, settings={HOSTILE: HOSTILE, "list": [HOSTILE]}, **accuracies)
    made = Report(
        made.tasks, made.epsilon, [*made.measurements, *report(task=HOSTILE, **{HOSTILE: 0.6}).measurements], made.settings
    )
    text = made.to_html()
    page = Page(text)
    assert "<script" not in text
    assert not page.attributes("script")
    # Unescaped once, as a browser shows it.
    assert page.text.count(HOSTILE) >= 6


def test_what_says_nothing_has_no_bar() -> None:
    text = report(clean=0.52, noise=0.52, protected=0.6).to_html()
    assert "width: 0%" in text
    assert re.search(r"<dt>side</dt>.*\n?</dd><dd class=\"number\">–</dd>", text)


def test_a_report_without_anything_is_a_page_too() -> None:
    page = Page(Report({"side": mtlue.Classification(2)}, 8 / 255, []).to_html())
    assert "Not measured" in page.text
    assert "Examples" not in page.text


def test_image_quality_against_its_definition() -> None:
    clean = torch.rand(3, 20, 24, generator=torch.Generator().manual_seed(0))
    found = evaluation.image_quality(clean, (clean + 0.05).clamp(0, 1))
    error = ((clean + 0.05).clamp(0, 1) - clean).square().mean()
    assert found["psnr"] == pytest.approx(float(-10 * torch.log10(error)), abs=1e-3)
    assert 0.8 < found["ssim"] < 1
    same = evaluation.image_quality(clean, clean)
    assert same == {"psnr": math.inf, "ssim": pytest.approx(1.0)}
    assert math.isnan(evaluation.image_quality(clean[..., :10], clean[..., :10])["ssim"])
    with pytest.raises(ValueError, match=r"protected: expected the shape \(3, 20, 24\) of the clean image"):
        evaluation.image_quality(clean, clean[..., :12])
    with pytest.raises(ValueError, match="clean: "):
        evaluation.image_quality(255 * clean, clean)


def test_an_audit_keeps_a_few_examples() -> None:
    clean = [(torch.rand(1, 8, 230, generator=torch.Generator().manual_seed(index)), index % 2) for index in range(9)]
    noisy = mtlue.baselines.random_noise(clean, tasks={"side": 2})
    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(2), torch.nn.Flatten(), torch.nn.Linear(4, 2))
    # What augments is looked at without it.
    found = evaluation.audit(
        noisy.with_transform(lambda image: image[..., 1:]), clean, clean[:8], model=net, epochs=1, progress=False
    )
    assert [each.index for each in found.examples] == [0, 3, 5, 8]
    assert [tuple(each.clean.shape) for each in found.examples] == [(1, 8, 224)] * 4
    changes = [(each.protected.int() - each.clean.int()).abs().max() for each in found.examples]
    assert all(0 < change <= 8 for change in changes)
    assert "Image 5: PSNR" in found.to_html()
    assert "examples" not in found.to_json()


def luminance(color: str) -> float:
    """Relative luminance of a colour such as #1b1d21 (WCAG 2)."""
    parts = [int(color[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_colours_can_be_told_from_what_is_behind_them(dark: bool) -> None:
    light, darker = re.findall(r":root \{(.*?)\}", full().to_html(), re.S)
    colors = dict(re.findall(r"--([\w-]+): (#\w{6})", light) + (re.findall(r"--([\w-]+): (#\w{6})", darker) if dark else []))
    text = [("text", "ground"), ("text", "raised"), ("soft", "ground")]
    text += [(name, f"{name}-ground") for name in ("good", "weak", "bad")] + [
        ("text", f"{name}-ground") for name in ("good", "bad")
    ]
    assert min(contrast(colors[one], colors[other]) for one, other in text) >= 4.5
    assert contrast(colors["bar"], colors["raised"]) >= 3
