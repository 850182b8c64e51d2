"""Pictures of perturbations, and charts of results and of a training."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mtlue
from mtlue.analysis import plot_history, plot_perturbations, plot_task_counts
from optional import needs

needs("matplotlib.figure", extra="analysis")

PNG = b"\x89PNG\r\n\x1a\n"
Make = Callable[..., mtlue.UEGenerator]


def protected_by(generator: mtlue.UEGenerator, dataset: Any, fraction: float = 1.0) -> mtlue.ProtectedDataset[Any]:
    return mtlue.protect(dataset, generator=generator, fraction=fraction, batch_size=8, progress=False)


def pixels(axes: Any) -> torch.Tensor:
    """What a picture shows, shape (C, H, W)."""
    shown = torch.as_tensor(axes.images[0].get_array().data).float()
    return shown.unsqueeze(0) if shown.ndim == 2 else shown.permute(2, 0, 1)


def test_what_rounding_to_8_bits_did_is_no_perturbation(make_generator: Make) -> None:
    dataset = [(torch.rand(1, 6, 9, generator=torch.Generator().manual_seed(label)), label) for label in range(2)]
    same = mtlue.protect(dataset, generator=make_generator({"gender": 2}, (1, 6, 9), seed=0, trained=True), fraction=0.0)
    figure = plot_perturbations(dataset, same)
    assert bool((pixels(figure.axes[2]) == 0.5).all())


@pytest.mark.parametrize("channels", [1, 3])
def test_perturbations_are_stretched_and_images_are_not(make_generator: Make, tmp_path: Path, channels: int) -> None:
    random = torch.Generator().manual_seed(0)
    dataset = [((torch.rand(channels, 6, 9, generator=random) * 255).round() / 255, label % 2) for label in range(4)]
    sets = {
        name: protected_by(make_generator({"gender": 2}, (channels, 6, 9), seed=seed, trained=True), dataset)
        for seed, name in enumerate(["EM", "TAP"])
    }
    figure = plot_perturbations(dataset, sets, tmp_path / "picture.png", indices=[2, 0])
    assert (tmp_path / "picture.png").read_bytes().startswith(PNG)
    assert [axes.get_ylabel() for axes in figure.axes[::2]] == [
        "clean",
        "EM\nperturbation",
        "EM\nprotected",
        "TAP\nperturbation",
        "TAP\nprotected",
    ]
    for column, index in enumerate([2, 0]):
        clean = dataset[index][0]
        shown = [pixels(axes) for axes in figure.axes[column::2]]
        torch.testing.assert_close(shown[0], clean)
        for perturbation, image, protected in zip(shown[1::2], shown[2::2], sets.values(), strict=True):
            torch.testing.assert_close(image, protected[index][0])
            delta = protected[index][0] - clean
            torch.testing.assert_close(perturbation, (delta - delta.min()) / (delta.max() - delta.min()))


def test_an_image_that_is_not_perturbed_has_a_grey_perturbation(make_generator: Make) -> None:
    dataset = [(torch.full((1, 16, 16), label, dtype=torch.uint8), {"shoe": 0, "front": label % 2}) for label in range(3)]
    figure = plot_perturbations(dataset, protected_by(make_generator(trained=True), dataset, fraction=0.0))
    assert [axes.get_ylabel() for axes in figure.axes[::3]] == ["clean", "perturbation", "protected"]
    assert all(bool((pixels(axes) == 0.5).all()) for axes in figure.axes[3:6])


def test_a_transform_is_not_drawn_and_stays(make_generator: Make, canvases: Any) -> None:
    protected = protected_by(make_generator(trained=True), canvases)
    augmented = protected.with_transform(torch.zeros_like)
    figure = plot_perturbations(canvases, augmented)
    assert len(figure.axes) == 3 * 6
    torch.testing.assert_close(pixels(figure.axes[-6]), protected[0][0])
    assert not augmented[0][0].any()


def test_what_are_no_perturbations(make_generator: Make, canvases: Any) -> None:
    protected = protected_by(make_generator(trained=True), canvases)
    wrong: list[tuple[Any, Any, dict[str, Any], type[Exception], str]] = [
        (iter(()), protected, {}, TypeError, "clean: expected a map-style data set"),
        (canvases, canvases, {}, TypeError, "protected: expected a ProtectedDataset or a dict of them by name, got list"),
        (canvases, {}, {}, ValueError, "protected: expected at least one data set, got an empty dict"),
        (canvases[:9], {"EM": protected}, {}, ValueError, "protected: 'EM' has 48 samples, the clean data set 9"),
        (canvases, protected, {"indices": [0, 48]}, ValueError, r"indices: expected integers from 0 to 47, got \[48\]"),
        (canvases, protected, {"indices": []}, ValueError, "indices: expected at least one, got none"),
        (canvases, protected, {"indices": "01"}, TypeError, "indices: expected a list of integers, got '01'"),
        (canvases, protected, {"indices": [0.5]}, TypeError, r"indices: expected a list of integers, got \[0.5\]"),
        ([(torch.rand(2, 16, 16), 0)] * 48, protected, {}, ValueError, r"clean: .* 1 or 3 channels, got \(1, 2, 16, 16\)"),
        ([(torch.rand(1, 8, 16), 0)] * 48, protected, {}, ValueError, "protected: .* sample 0 .* another data set?"),
    ]
    for clean, of_it, options, kind, message in wrong:
        with pytest.raises(kind, match=message):
            plot_perturbations(clean, of_it, **options)


def test_a_line_for_each_method_in_percent(tmp_path: Path) -> None:
    results = {"clean": {10: 0.93, 1: 0.97, 40: 0.91}, "TAP": {1: (0.7, 0.02), 40: 0.6}}
    figure = plot_task_counts(results, tmp_path / "chart.png", chance=0.5)
    assert (tmp_path / "chart.png").read_bytes().startswith(PNG)
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("number of tasks", "clean test accuracy (%)")
    clean, tap = (bars.lines[0] for bars in axes.containers)
    assert clean.get_xydata().tolist() == [[1, 97], [10, 93], [40, 91]]
    assert tap.get_xydata().tolist() == [[1, 70], [40, 60]]
    assert clean.get_color() != tap.get_color()
    assert axes.containers[1].has_yerr
    assert not axes.containers[0].has_yerr
    segments = axes.containers[1].lines[2][0].get_segments()
    assert segments[0].tolist() == [[1, 68], [1, 72]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["clean", "TAP", "chance"]
    assert list(axes.get_xticks()) == [1, 10, 40]
    assert list(axes.lines[-1].get_ydata()) == [50, 50]


def test_chance_for_each_number_of_tasks_or_none() -> None:
    results = {"clean": {1: 0.6, 2: 0.7, 3: 0.8}}
    (axes,) = plot_task_counts(results, chance={3: 0.3, 1: 0.1}).axes
    assert axes.lines[-1].get_xydata().tolist() == [[1, 10], [3, 30]]
    assert [text.get_text() for text in plot_task_counts(results).legends[0].get_texts()] == ["clean"]


def test_ticks_do_not_touch() -> None:
    (axes,) = plot_task_counts({"clean": dict.fromkeys([1, 2, 5, 10, 40], 0.9)}).axes
    assert list(axes.get_xticks()) == [1, 5, 10, 40]


@pytest.mark.parametrize(
    ("results", "options", "kind", "message"),
    [
        ([1], {}, TypeError, "results: expected a dict by method, got list"),
        ({}, {}, ValueError, "results: expected at least one method, got an empty dict"),
        ({"EM": 0.5}, {}, TypeError, r"results\['EM'\]: expected a dict by number of tasks, got float"),
        ({"EM": {}}, {}, ValueError, r"results\['EM'\]: expected at least one number of tasks, got an empty dict"),
        ({"EM": {"1": 0.5}}, {}, TypeError, r"results\['EM'\]: expected numbers of tasks as keys, got '1'"),
        ({"EM": {0: 0.5}}, {}, ValueError, r"results\['EM'\]: expected at least 1 task, got 0"),
        ({"EM": {1: 91.1}}, {}, ValueError, r"results\['EM'\]\[1\]: expected a share in \[0, 1\], got 91.1; percent\?"),
        ({"EM": {1: (0.5, 0.1, 0.2)}}, {}, ValueError, r"results\['EM'\]\[1\]: expected a pair \(accuracy, spread\)"),
        ({"EM": {1: (0.5, -0.1)}}, {}, ValueError, r"results\['EM'\]\[1\]: expected a number >= 0, got -0.1"),
        ({"EM": {1: "half"}}, {}, TypeError, r"results\['EM'\]\[1\]: expected a number in \[0, 1\], got 'half'"),
        ({"EM": {1: 0.5}}, {"chance": 50}, ValueError, r"chance: expected a share in \[0, 1\], got 50"),
    ],
)
def test_what_are_no_results(results: Any, options: Any, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        plot_task_counts(results, **options)


def epoch(number: int, accuracy: float | None) -> mtlue.Epoch:
    return mtlue.Epoch(
        learning_rate=1e-3,
        loss=9.0,
        base_loss=2.0 / number,
        intra_er=-0.1 * number,
        inter_er=0.3 / number,
        surrogate_accuracy=accuracy,
        seconds=1.0,
    )


def test_a_training_is_drawn_epoch_by_epoch(tmp_path: Path) -> None:
    history = mtlue.History([epoch(1, 0.5), epoch(2, 0.75)])
    figure = plot_history(history, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").read_bytes().startswith(PNG)
    loss, regularizers, accuracy = figure.axes
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch"] * 3
    assert [axes.get_ylabel() for axes in figure.axes] == ["base loss", "mean cosine", "surrogate's accuracy (%)"]
    assert loss.lines[0].get_xydata().tolist() == [[1, 2], [2, 1]]
    assert [line.get_ydata().tolist() for line in regularizers.lines] == [[-0.1, -0.2], [0.3, 0.15]]
    assert [text.get_text() for text in regularizers.get_legend().get_texts()] == ["intra-ER", "inter-ER"]
    assert accuracy.lines[0].get_xydata().tolist() == [[1, 50], [2, 75]]


def test_a_training_without_accuracies_has_two_charts() -> None:
    assert len(plot_history(mtlue.History([epoch(1, None)])).axes) == 2


def test_what_is_no_training() -> None:
    with pytest.raises(TypeError, match=r"history: expected a mtlue.History, got list"):
        plot_history([epoch(1, None)])  # type: ignore[arg-type]  # wrong on purpose
    with pytest.raises(ValueError, match="history: expected at least one epoch, got none"):
        plot_history(mtlue.History())


def test_without_the_library_the_message_is_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'matplotlib is needed .* pip install "mtlue\[plot\]"'):
        plot_task_counts({"clean": {1: 0.5}})


def test_importing_loads_no_optional_library_and_a_plot_opens_no_window(tmp_path: Path) -> None:
    code = f"""
import sys
from mtlue import analysis
print(sorted({{"captum", "matplotlib", "sklearn"}} & set(sys.modules)))
analysis.plot_task_counts({{"clean": {{1: 0.5}}}}, {str(tmp_path / "chart.png")!r})
print("matplotlib.pyplot" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["[]", "False"], done.stderr
