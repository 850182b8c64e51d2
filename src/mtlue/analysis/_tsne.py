"""Map points to a plane so that neighbours stay neighbours (t-SNE)."""

from __future__ import annotations

import torch
from torch import Tensor

from mtlue._checks import check_number, check_seed
from mtlue._runtime import require


def tsne(embeddings: Tensor, *, seed: int = 0, perplexity: float | None = None) -> Tensor:
    """Compute coordinates by t-SNE with Euclidean distances, using scikit-learn.

    Args:
        embeddings: Shape (N, ...) with N at least 2. All axes except the first are flattened.
        seed: Equal seeds give equal coordinates. No global random numbers are drawn.
        perplexity: Roughly how many neighbours a point has, less than N. If None, (N - 1) / 3, limited to 1 to 30.

    Returns:
        Shape (N, 2), float32, on the CPU.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: there are fewer than 2 points, one is not finite, or the perplexity is not between 0 and N.
        ImportError: scikit-learn is not installed.

    Example:
        >>> import torch
        >>> from mtlue import analysis
        >>> analysis.tsne(torch.rand(5, 16, 4, 4)).shape
        torch.Size([5, 2])
    """
    if not isinstance(embeddings, Tensor):
        raise TypeError(f"embeddings: expected a tensor of shape (N, ...), got {type(embeddings).__name__}")
    if embeddings.ndim < 2 or len(embeddings) < 2 or not embeddings.numel():
        raise ValueError(f"embeddings: expected shape (N, ...) with at least 2 points, got {tuple(embeddings.shape)}")
    if not bool(embeddings.isfinite().all()):
        raise ValueError("embeddings: expected finite numbers, got NaN or infinity")
    count = len(embeddings)
    perplexity = fitting_perplexity(perplexity, count)
    check_seed("seed", seed)
    points = embeddings.detach().cpu().double().flatten(1)
    manifold = require("sklearn.manifold", extra="analysis").TSNE(
        n_components=2,
        perplexity=perplexity,
        # Principal components would leave two or three points on a line, and the seed would have no effect.
        init="random",
        # Exact: there are few classes, and the approximation's threads would make the last digits depend on the machine.
        method="exact",
        random_state=seed % 2**32,
    )
    return torch.from_numpy(manifold.fit_transform(points.numpy())).float()


def fitting_perplexity(perplexity: float | None, count: int) -> float:
    """The perplexity asked for, or one that suits so many points.

    Raises:
        TypeError: it is not a number.
        ValueError: it is not between 0 and the number of points.
    """
    if perplexity is None:
        return min(30.0, max(1.0, (count - 1) / 3))
    if check_number("perplexity", perplexity, above=0) >= count:
        raise ValueError(f"perplexity: expected less than {count}, the number of points, got {perplexity}")
    return float(perplexity)
