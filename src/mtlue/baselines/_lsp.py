"""Linearly separable patterns."""

from __future__ import annotations

import torch
from torch import Tensor

from mtlue.baselines._patterns import check_request, unit_norm

#: Side of a cell in pixels. A cell has one colour.
_CELL = 8


class LSP:
    """Linearly separable patterns (Yu et al., 2022). Each class has a grid of cells of 8x8 pixels, each in one colour.

    The colours of a class, over all cells and channels, are the centre of its cluster in the original's synthetic
    classification problem (scikit-learn's ``make_classification`` with all features informative, one cluster for each class and
    class separation 10). This is a vertex of a hypercube, a different one for each class. Here it is simplified: the original
    adds a correlated Gaussian draw for each sample to the centre of its class, so its patterns are sample-wise. These are
    class-wise, as the fusion over tasks needs them, and scaling removes the separation.

    ``patterns(num_classes, shape, generator)`` returns patterns (num_classes, C, H, W) with an l2 norm of 1 each. Cells on the
    right and at the bottom are cut if 8 does not divide the size.

    Example:
        >>> import torch
        >>> from mtlue import baselines
        >>> patterns = baselines.LSP()(3, (3, 32, 32), torch.Generator().manual_seed(0))
        >>> patterns.shape
        torch.Size([3, 3, 32, 32])
        >>> bool((patterns[..., :8, :8] == patterns[..., :1, :1]).all())
        True
    """

    def __call__(self, num_classes: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
        """Return a pattern for each class of a task.

        Args:
            num_classes: Number of classes.
            shape: Channels, height and width.
            generator: Random generator of torch.

        Raises:
            ValueError: ``num_classes`` is below 1, the shape is not (C, H, W), or there are more classes than vertices.
            TypeError: an argument is not an integer, or the shape not a sequence of them.
        """
        channels, height, width = check_request(num_classes, shape)
        rows, columns = -(-height // _CELL), -(-width // _CELL)
        features = channels * rows * columns
        if features < (num_classes - 1).bit_length():
            raise ValueError(
                f"num_classes: LSP has 2^{features} patterns of {channels} x {height} x {width} values, in {rows} x {columns} "
                f"cells of {_CELL} x {_CELL} pixels, expected one for each of {num_classes} classes; larger images "
                "or fewer tasks make more cells"
            )
        colours = _vertices(num_classes, features, generator).view(num_classes, channels, rows, columns)
        cells = colours.repeat_interleave(_CELL, dim=2).repeat_interleave(_CELL, dim=3)
        return unit_norm(cells[..., :height, :width])

    def __repr__(self) -> str:
        return "LSP()"


def _vertices(count: int, features: int, generator: torch.Generator) -> Tensor:
    """Draw different vertices of the hypercube [-1, 1]^features, floats (count, features)."""
    # A dictionary keeps the order of the draws.
    found: dict[tuple[int, ...], None] = {}
    while len(found) < count:
        bits = torch.randint(2, (features,), generator=generator, device=generator.device)
        found[tuple(bits.tolist())] = None
    return 2.0 * torch.tensor(list(found), dtype=torch.float32, device=generator.device) - 1.0
