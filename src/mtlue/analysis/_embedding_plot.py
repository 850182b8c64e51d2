"""Picture of the learned class embeddings (figure 7 of the paper)."""

from __future__ import annotations

import torch

from mtlue._generator import ClassEmbeddingBank, UEGenerator
from mtlue.analysis._figures import Figure, PathArgument, finished, look_of, new_figure
from mtlue.analysis._tsne import tsne

_LEGEND_ROWS = 20
# With more points the names would cover each other.
_NAMED = 60


def plot_embeddings(
    bank: ClassEmbeddingBank | UEGenerator,
    path: PathArgument = None,
    *,
    seed: int = 0,
    perplexity: float | None = None,
) -> Figure:
    """Plot class embeddings by t-SNE, with a point for each class and a style for each task (figure 7).

    Up to 60 points are labelled with their class. Inter-ER should keep the tasks apart, intra-ER the classes of a task.

    Args:
        bank: The embeddings, or a generator that holds them.
        path: File to write; its ending decides the format. None writes nothing.
        seed: As in `tsne`.
        perplexity: As in `tsne`.

    Returns:
        A figure with one chart.

    Raises:
        TypeError: ``bank`` is neither a bank nor a generator.
        ValueError: there are fewer than 2 embeddings, or the perplexity is out of range.
        ImportError: scikit-learn or Matplotlib is not installed.

    Example:
        >>> import mtlue
        >>> from mtlue import analysis
        >>> bank = mtlue.ClassEmbeddingBank({"age": 9, "gender": 2}, size=(8, 8))
        >>> [axes.get_xlabel() for axes in analysis.plot_embeddings(bank).axes]
        ['t-SNE 1']
    """
    if isinstance(bank, UEGenerator):
        bank = bank.embeddings
    if not isinstance(bank, ClassEmbeddingBank):
        raise TypeError(f"bank: expected a mtlue.ClassEmbeddingBank or a mtlue.UEGenerator, got {type(bank).__name__}")
    tables = [table.detach().cpu() for _, table in bank.items()]
    count = sum(len(table) for table in tables)
    if count < 2:
        raise ValueError(f"bank: expected at least 2 class embeddings, got {count}; tasks whose labels are maps have none")
    points = tsne(torch.cat(tables), seed=seed, perplexity=perplexity).split([len(table) for table in tables])
    columns = -(-len(tables) // _LEGEND_ROWS)
    figure = new_figure(5.4 + 1.2 * columns, 4.6)
    axes = figure.subplots()
    for index, (name, places) in enumerate(zip(bank, points, strict=True)):
        color, marker = look_of(index)
        x, y = places.T.tolist()
        axes.scatter(x, y, s=45, label=name, color=color, marker=marker, edgecolors="white", linewidths=0.6)
        for label, place in enumerate(places.tolist() if count <= _NAMED else []):
            axes.annotate(str(label), place, xytext=(4, 4), textcoords="offset points", fontsize=8, color=color)
    axes.margins(0.1)
    # The directions and the scale of t-SNE mean nothing.
    axes.set(xlabel="t-SNE 1", ylabel="t-SNE 2", xticks=[], yticks=[])
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", title="task", ncols=columns, frameon=False, fontsize=9)
    return finished(figure, path)
