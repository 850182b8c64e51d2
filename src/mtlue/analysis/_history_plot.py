"""A chart of a generator's training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mtlue._fit import History
from mtlue._runtime import require
from mtlue.analysis._figures import Figure, PathArgument, finished, look_of, new_figure, tidy


def plot_history(history: History, path: PathArgument = None) -> Figure:
    """Plot base loss and regularisers by epoch, and the surrogate's accuracy if the loss trains it.

    Args:
        history: What `mtlue.fit` returned.
        path: File to write; its ending decides the format. None writes nothing.

    Returns:
        A figure with charts of the base loss, of the regularisers (equations 4 and 5, unweighted) and, if measured, of the
        surrogate's accuracy.

    Raises:
        TypeError: ``history`` is not a `mtlue.History`.
        ValueError: the history is empty.
        ImportError: Matplotlib is not installed.

    Example:
        >>> import mtlue
        >>> from mtlue import analysis
        >>> epoch = mtlue.Epoch(
        ...     learning_rate=1e-3, loss=0.9, base_loss=0.7, intra_er=-0.1, inter_er=0.02, surrogate_accuracy=None, seconds=3.0
        ... )
        >>> [axes.get_ylabel() for axes in analysis.plot_history(mtlue.History([epoch])).axes]
        ['base loss', 'mean cosine']
    """
    if not isinstance(history, History):
        raise TypeError(f"history: expected a mtlue.History, got {type(history).__name__}")
    if not len(history):
        raise ValueError("history: expected at least one epoch, got none")
    ticker = require("matplotlib.ticker", extra="plot")
    accuracies = {
        number: 100 * epoch.surrogate_accuracy
        for number, epoch in enumerate(history, start=1)
        if epoch.surrogate_accuracy is not None
    }
    numbers = range(1, len(history) + 1)
    panels = 3 if accuracies else 2
    figure = new_figure(3.4 * panels, 2.8)
    loss, regularizers, *accuracy = (tidy(axes) for axes in figure.subplots(1, panels))
    _draw(loss, numbers, [epoch.base_loss for epoch in history])
    loss.set_ylabel("base loss")
    _draw(regularizers, numbers, [epoch.intra_er for epoch in history], label="intra-ER")
    _draw(regularizers, numbers, [epoch.inter_er for epoch in history], label="inter-ER", index=1)
    regularizers.set_ylabel("mean cosine")
    # Above the chart, because any corner of it may hold a curve.
    regularizers.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    for axes in accuracy:
        _draw(axes, accuracies, accuracies.values())
        axes.set(ylabel="surrogate's accuracy (%)", ylim=(0, 103))
    for axes in (loss, regularizers, *accuracy):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    return finished(figure, path)


def _draw(axes: Any, epochs: Iterable[int], values: Iterable[float], *, index: int = 0, label: str | None = None) -> None:
    color, marker = look_of(index)
    axes.plot(list(epochs), list(values), color=color, marker=marker, markersize=4, label=label)
