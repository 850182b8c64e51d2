"""Figures that show what protected images do to the models trained on them.

Plots need ``mtlue[plot]``; t-SNE and GradCAM need ``mtlue[analysis]``. Every plot returns a Matplotlib figure, without opening
a window or changing global state, and writes it to a file if you give a path.
"""

from mtlue.analysis._deviation import intra_class_deviation
from mtlue.analysis._embedding_plot import plot_embeddings
from mtlue.analysis._features import collect_features
from mtlue.analysis._gradcam import gradcam
from mtlue.analysis._gradcam_plot import plot_gradcam
from mtlue.analysis._history_plot import plot_history
from mtlue.analysis._map_plot import draw_map, plot_maps
from mtlue.analysis._perturbation_plot import plot_perturbations
from mtlue.analysis._task_count_plot import plot_task_counts
from mtlue.analysis._tsne import tsne

__all__ = [
    "collect_features",
    "draw_map",
    "gradcam",
    "intra_class_deviation",
    "plot_embeddings",
    "plot_gradcam",
    "plot_history",
    "plot_maps",
    "plot_perturbations",
    "plot_task_counts",
    "tsne",
]
