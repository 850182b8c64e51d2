"""A chart of accuracy against the number of tasks (figures 2 and 5 of the paper)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from mtlue._checks import check_number, check_share
from mtlue.analysis._figures import Figure, PathArgument, finished, look_of, new_figure, tidy

Measured: TypeAlias = "float | tuple[float, float]"


def plot_task_counts(
    results: Mapping[str, Mapping[int, Measured]],
    path: PathArgument = None,
    *,
    chance: float | Mapping[int, float] | None = None,
) -> Figure:
    """Plot victims' accuracy on clean test images against the number of tasks, by method (figures 2 and 5).

    Args:
        results: Accuracies by method, then by number of tasks. Give an accuracy, or a pair of accuracy and spread (such as a
            standard deviation over seeds), which is drawn as an error bar. Shares in [0, 1]; the chart shows percent.
        path: File to write; its ending decides the format. None writes nothing.
        chance: Accuracy of guessing by the labels' frequencies, one for all numbers of tasks or one for each. Drawn as a dashed
            line.

    Returns:
        A figure with one chart.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: there is nothing to draw, a number of tasks is below 1, or an accuracy is not in [0, 1].
        ImportError: Matplotlib is not installed.

    Example:
        >>> from mtlue import analysis
        >>> results = {"clean": {1: 0.97, 10: 0.93, 40: 0.91}, "MTL-UE-TAP": {1: (0.78, 0.02), 10: 0.61, 40: 0.6}}
        >>> [text.get_text() for text in analysis.plot_task_counts(results, chance=0.5).legends[0].get_texts()]
        ['clean', 'MTL-UE-TAP', 'chance']
    """
    curves = {name: _check_curve(f"results[{name!r}]", curve) for name, curve in _check_results(results).items()}
    counts = sorted({count for curve in curves.values() for count in curve})
    reference = _check_chance(chance, counts)
    figure = new_figure(6.8, 3.8)
    axes = tidy(figure.subplots())
    # On their own, error bars would come last in the legend.
    handles: list[Any] = []
    for index, (name, curve) in enumerate(curves.items()):
        color, marker = look_of(index)
        spreads = [100 * spread for _, spread in curve.values()]
        bars = axes.errorbar(
            list(curve),
            [100 * mean for mean, _ in curve.values()],
            yerr=spreads if any(spreads) else None,
            label=name,
            markersize=5,
            linewidth=1.6,
            capsize=3,
            color=color,
            marker=marker,
        )
        handles.append(bars)
    if reference:
        shares = [100 * share for share in reference.values()]
        if len(shares) == 1:
            handles.append(axes.axhline(shares[0], color="0.4", linestyle="--", linewidth=1.2, label="chance"))
        else:
            handles += axes.plot(list(reference), shares, color="0.4", linestyle="--", linewidth=1.2, label="chance")
    axes.set(xlabel="number of tasks", ylabel="clean test accuracy (%)")
    axes.set_xticks(_ticks(counts))
    figure.legend(handles=handles, loc="outside right upper", frameon=False)
    return finished(figure, path)


def _ticks(counts: list[int]) -> list[int]:
    """Choose from increasing numbers those that fit side by side."""
    shown = counts[:1]
    for count in counts:
        if count - shown[-1] > 0.04 * (counts[-1] - counts[0]):
            shown.append(count)
    return shown


def _check_results(results: object) -> dict[str, object]:
    if not isinstance(results, Mapping):
        raise TypeError(f"results: expected a dict by method, got {type(results).__name__}")
    if not results:
        raise ValueError("results: expected at least one method, got an empty dict")
    return {str(name): curve for name, curve in results.items()}


def _check_curve(name: str, curve: object) -> dict[int, tuple[float, float]]:
    if not isinstance(curve, Mapping):
        raise TypeError(f"{name}: expected a dict by number of tasks, got {type(curve).__name__}")
    if not curve:
        raise ValueError(f"{name}: expected at least one number of tasks, got an empty dict")
    for count in curve:
        if isinstance(count, bool) or not isinstance(count, int):
            raise TypeError(f"{name}: expected numbers of tasks as keys, got {count!r}")
        if count < 1:
            raise ValueError(f"{name}: expected at least 1 task, got {count}")
    read = {}
    for count in sorted(curve):
        value = curve[count]
        if isinstance(value, tuple) and len(value) != 2:
            raise ValueError(f"{name}[{count}]: expected a pair (accuracy, spread), got {value!r}")
        mean, spread = value if isinstance(value, tuple) else (value, 0.0)
        read[count] = (check_share(f"{name}[{count}]", mean), check_number(f"{name}[{count}]", spread))
    return read


def _check_chance(chance: object, counts: list[int]) -> dict[int, float]:
    if chance is None:
        return {}
    if isinstance(chance, Mapping):
        return {count: mean for count, (mean, _) in _check_curve("chance", chance).items()}
    return {counts[0]: check_share("chance", chance)}  # type: ignore[arg-type]  # it checks the type
