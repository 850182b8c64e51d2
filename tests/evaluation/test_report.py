"""What a report says, against cases worked out by hand."""

from __future__ import annotations

import math

import pytest

import mtlue
from mtlue.evaluation import Measurement, Report


def measured(
    data: str, value: float, *, task: str = "side", defense: str = "none", seed: int = 0, victim: str = "multi-task"
) -> Measurement:
    return Measurement(data, victim, defense, task, seed, {"balanced_accuracy": value}, {"balanced_accuracy": value + 0.05}, 1)


def by_hand() -> Report:
    return Report(
        {"side": mtlue.Classification(2), "shade": mtlue.Classification(4)},
        8 / 255,
        [
            measured("clean", 0.9),
            measured("clean", 0.7, seed=1),
            measured("random noise", 0.8),
            measured("random noise", 0.8, seed=1),
            measured("protected", 0.56),
            measured("protected", 0.56, seed=1),
            measured("clean", 0.65, task="shade"),
            measured("random noise", 0.65, task="shade"),
            measured("protected", 0.33, task="shade"),
            measured("clean", 0.7, defense="jpeg"),
            measured("protected", 0.65, defense="jpeg"),
        ],
    )


def test_rows_of_a_case_worked_out_by_hand() -> None:
    side, shade, defended = by_hand().rows()
    assert side.values == pytest.approx({"clean": 0.8, "random noise": 0.8, "protected": 0.56})
    assert side.spreads["clean"] == pytest.approx(math.sqrt(0.02))
    assert side.best == pytest.approx(0.61)
    assert side.residuals == pytest.approx({"random noise": 1.0, "protected": 0.2})
    assert shade.residuals["protected"] == pytest.approx(0.2)
    # Against the victim without a defence: (0.65 - 0.5) / (0.8 - 0.5).
    assert defended.residuals == pytest.approx({"protected": 0.5})
    assert by_hand().residual_learnability == pytest.approx({"side": 0.2, "shade": 0.2})


def test_tables_say_what_the_rows_say() -> None:
    metric = "balanced accuracy (%)"
    lines = by_hand().to_markdown().splitlines()
    header = ["victim", "defense", "task", "metric", "chance", "clean", "random noise", "protected"]
    assert lines[0] == f"| {' | '.join(header)} | best epoch | R noise | R protected |"
    assert lines[2] == f"| multi-task | none | side | {metric} | 50.0 | 80.0 ± 14.1 | 80.0 | 56.0 | 61.0 | 1.00 | 0.20 |"
    # (0.445 - 0.375) / (0.725 - 0.375)
    assert lines[4] == f"| multi-task | none | mean | {metric} | 37.5 | 72.5 | 72.5 | 44.5 | 49.5 | 1.00 | 0.20 |"
    assert lines[5] == f"| multi-task | jpeg | side | {metric} | 50.0 | 70.0 | – | 65.0 | 70.0 | – | 0.50 |"
    assert lines[7:] == [
        "Metrics on clean test images. Epsilon 8/255, random noise ±8/255.",
        "R: 0 = nothing is learned, 1 = as much as from clean images.",
        "Best: from protected images, after the epoch that did best on the test images.",
    ]
    text = str(by_hand()).splitlines()
    assert text[6:] == lines[7:]
    assert text[1].split() == [
        "multi-task",
        "none",
        "side",
        "balanced",
        "accuracy",
        "(%)",
        "50.0",
        "80.0",
        "±",
        "14.1",
        "80.0",
        "56.0",
        "61.0",
        "1.00",
        "0.20",
    ]
    assert repr(by_hand()) == "Report(R: side=0.20, shade=0.20)"


def test_nan_survives_json() -> None:
    one = measured("clean", math.nan)
    text = Report({"side": mtlue.Classification(2)}, 0.1, [one, measured("protected", 0.5)]).to_json()
    assert "NaN" not in text
    assert math.isnan(Report.from_json(text).measurements[0].last["balanced_accuracy"])


@pytest.mark.parametrize("text", ["{}", "no json", "[" * 100_000, '{"measurements": [{"data": 1}]}'])
def test_other_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected what Report\.to_json writes"):
        Report.from_json(text)


DENSE: dict[str, mtlue.Task] = {
    "parts": mtlue.Segmentation(4),
    "depth": mtlue.Depth(),
    "normals": mtlue.SurfaceNormals(),
}
METRICS = {"parts": "miou", "depth": "absolute_error", "normals": "mean_angle"}


def dense(chance: dict[str, float], **values: dict[str, float]) -> Report:
    """A report of one victim from headline values by task and set."""
    measurements = [
        Measurement(data, "multi-task", "none", task, 0, {METRICS[task]: value}, {METRICS[task]: value}, 1)
        for task, found in values.items()
        for data, value in found.items()
    ]
    return Report({task: DENSE[task] for task in values}, 8 / 255, measurements, {}, chance)


def mixed() -> Report:
    return dense(
        {"parts": 0.1, "depth": 2.0, "normals": 40.0},
        parts={"clean": 0.5, "random noise": 0.5, "protected": 0.2},
        depth={"clean": 0.5, "random noise": 0.8, "protected": 2.3},
        normals={"clean": 20.0, "random noise": 22.0, "protected": 39.0},
    )


def test_errors_are_better_when_lower() -> None:
    parts, depth, normals = mixed().rows()
    assert parts.residuals == pytest.approx({"random noise": 1.0, "protected": 0.25})
    assert depth.residuals == pytest.approx({"random noise": 0.8, "protected": -0.2})
    assert normals.residuals == pytest.approx({"random noise": 0.9, "protected": 0.05})


def test_each_metric_is_shown_in_its_unit_and_only_shares_of_what_was_learned_are_averaged() -> None:
    lines = mixed().to_markdown().splitlines()
    assert lines[2:6] == [
        "| multi-task | none | parts | mIoU (%) | 10.0 | 50.0 | 50.0 | 20.0 | 20.0 | 1.00 | 0.25 |",
        "| multi-task | none | depth | absolute error | 2.000 | 0.500 | 0.800 | 2.300 | 2.300 | 0.80 | -0.20 |",
        "| multi-task | none | normals | mean angle (°) | 40.00 | 20.00 | 22.00 | 39.00 | 39.00 | 0.90 | 0.05 |",
        # (1 + 0.8 + 0.9) / 3 and (0.25 - 0.2 + 0.05) / 3
        "| multi-task | none | mean | – | – | – | – | – | – | 0.90 | 0.03 |",
    ]
    assert lines[7] == (
        "Metrics on clean test images; for absolute error and mean angle, less is better. Epsilon 8/255, random noise ±8/255."
    )


def test_what_was_hardly_learned_from_clean_images_is_told_in_the_metric_s_direction() -> None:
    found = dense(
        {"parts": 0.1, "depth": 2.0, "normals": 40.0},
        parts={"clean": 0.15, "protected": 0.1},
        depth={"clean": 1.85, "protected": 2.0},
        normals={"clean": 41.0, "protected": 10.0},
    )
    assert "so R says nothing: parts, depth, normals; train longer." in str(found)
    assert math.isnan(found.residual_learnability["normals"])
    assert "R says nothing" not in str(mixed())


def test_what_protects_no_better_than_noise_is_told() -> None:
    def found(noise: float, *protected: float, clean: float = 0.9) -> str:
        """Chance is 0.5, so that 0.4 of accuracy is the way from R = 0 to R = 1."""
        kinds = ("multi-task", "single-task")
        measurements = [
            measured(data, value, victim=victim)
            for victim, each in zip(kinds, protected, strict=False)
            for data, value in (("clean", clean), ("random noise", noise), ("protected", each))
        ]
        # Against a defence it often is so; that is no news.
        measurements += [measured("clean", 0.9, defense="jpeg"), measured("protected", 0.9, defense="jpeg")]
        report = Report({"side": mtlue.Classification(2)}, 8 / 255, measurements)
        assert str(report).partition("\n\n")[2] == report.to_markdown().partition("\n\n")[2]
        return str(report)

    sentence = "Hardly better than random noise (R less than 0.1 below its R): "
    # R of noise is 0.75.
    assert f"\n{sentence}side." in found(0.8, 0.9)
    assert f"\n{sentence}side." in found(0.8, 0.77)  # R = 0.675
    assert sentence not in found(0.8, 0.75)  # R = 0.625
    assert f"\n{sentence}side." in found(0.8, 0.8, 0.8)
    assert f"\n{sentence}side (single-task)." in found(0.8, 0.55, 0.8)
    hardly = found(0.52, 0.52, clean=0.53)
    assert "R says nothing: side" in hardly
    assert sentence not in hardly
    assert sentence not in str(by_hand())


def test_a_chance_that_is_no_number_survives_json_and_gives_no_r() -> None:
    found = dense({"depth": math.nan}, depth={"clean": 1.0, "protected": 2.0})
    again = Report.from_json(found.to_json())
    assert math.isnan(again.chance["depth"])
    assert again.to_markdown() == found.to_markdown()
    assert again.to_markdown().splitlines()[2].endswith("| absolute error | – | 1.000 | – | 2.000 | 2.000 | – | – |")


def test_a_defended_victim_that_learns_nothing_says_nothing_against_the_reference() -> None:
    blind = [measured("clean", 0.5, defense="black"), measured("protected", 0.5, defense="black")]
    found = Report({"side": mtlue.Classification(2)}, 8 / 255, [measured("clean", 0.9), measured("protected", 0.6), *blind])
    assert found.rows()[1].residuals == {"protected": 0.0}
    assert "R says nothing" not in str(found)
