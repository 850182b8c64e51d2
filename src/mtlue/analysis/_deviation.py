"""How much features vary within a class."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def intra_class_deviation(features: Tensor, targets: Mapping[str, Tensor]) -> tuple[float, float]:
    r"""Relative standard deviation of features within the classes (section 4.2, tables 1 and 3).

    For each of the D features, averaged over all classes of all tasks together,

    .. math:: r_d = \frac{1}{\sum_k C_k} \sum_k \sum_{y^k} \frac{\mathrm{std}[z_d \mid y^k]}{|\mathrm{E}[z_d \mid y^k]|}

    It is a ratio, not a percentage. A low value means that the features of a class are alike. In the paper this indicates
    strong protection; the paper takes features from the encoder of a multi-task model trained on protected images.

    The standard deviation is unbiased. The paper's features are averages over ReLUs and so not negative. For other features the
    absolute value of the mean is used. A feature that is 0 throughout a class counts as 0.

    Args:
        features: Shape (N, D), as `collect_features` returns them.
        targets: Integer labels (N,) by task. Missing labels (-1) are left out, and so are classes with fewer than 2 samples,
            which have no deviation.

    Returns:
        Mean and maximum of r over the D features.

    Raises:
        TypeError: the features are not floats, or the targets are not a mapping of names to integers.
        ValueError: a shape is wrong, a feature is not finite, a label is less than -1, or no class has 2 samples.

    Example:
        >>> import torch
        >>> from mtlue import analysis
        >>> features = torch.tensor([[1.0, 5.0], [3.0, 5.0], [2.0, 4.0], [2.0, 4.0]])
        >>> mean, maximum = analysis.intra_class_deviation(features, {"gender": torch.tensor([0, 0, 1, 1])})
        >>> round(mean, 4), round(maximum, 4)  # of (√2/2 + 0)/2 and 0
        (0.1768, 0.3536)
    """
    if not isinstance(features, Tensor) or not features.is_floating_point():
        got = str(features.dtype) if isinstance(features, Tensor) else type(features).__name__
        raise TypeError(f"features: expected a tensor of floats of shape (N, D), got {got}")
    if features.ndim != 2 or 0 in features.shape:
        raise ValueError(f"features: expected shape (N, D), got {tuple(features.shape)}")
    if not bool(features.isfinite().all()):
        raise ValueError("features: expected finite numbers, got NaN or infinity")
    if not isinstance(targets, Mapping):
        raise TypeError(f"targets: expected a dict of labels (N,) by task, got {type(targets).__name__}")
    # In double precision, which some devices lack: the features of a class may lie much closer to each other than to 0.
    values = features.detach().cpu().double()
    ratios = [_ratios(values, _labels(name, labels, values)) for name, labels in targets.items()]
    classes = sum(len(each) for each in ratios)
    if not classes:
        raise ValueError("targets: expected a class with at least 2 samples, got none")
    by_feature = torch.cat(ratios).sum(dim=0) / classes
    return float(by_feature.mean()), float(by_feature.max())


def _labels(name: str, labels: object, features: Tensor) -> Tensor:
    try:
        read = torch.as_tensor(labels, device="cpu")
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"targets: task {name!r}: expected integers, got {type(labels).__name__}") from None
    if read.is_floating_point() or read.is_complex():
        raise TypeError(f"targets: task {name!r}: expected integers, got {read.dtype}")
    if read.shape != features.shape[:1]:
        raise ValueError(f"targets: task {name!r}: expected {len(features)} labels, shape (N,), got {tuple(read.shape)}")
    if int(read.min()) < -1:
        raise ValueError(f"targets: task {name!r}: expected labels from 0 on, or -1 for a missing one, got {int(read.min())}")
    return read.long()


def _ratios(features: Tensor, labels: Tensor) -> Tensor:
    """Return the relative deviation of each feature in each class with at least 2 samples, shape (classes, D)."""
    observed = labels >= 0
    features = features[observed]
    _, position, counts = labels[observed].unique(return_inverse=True, return_counts=True)
    sizes = counts.to(features.dtype).unsqueeze(1)
    means = features.new_zeros(len(counts), features.shape[1]).index_add(0, position, features) / sizes
    squares = torch.zeros_like(means).index_add(0, position, (features - means[position]).square())
    enough = counts >= 2
    deviations, means = (squares[enough] / (sizes[enough] - 1)).sqrt(), means[enough]
    return torch.where(deviations == 0, 0.0, deviations / means.abs())
