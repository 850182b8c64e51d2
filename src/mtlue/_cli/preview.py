"""``mtlue preview``: draw what the protection changed."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from torch import Tensor

from mtlue import analysis, evaluation
from mtlue._cli.console import say
from mtlue._cli.options import add_photos, check_file, natural, positive
from mtlue._cli.published import open_pair
from mtlue._data import to_bytes, to_unit_floats
from mtlue._formats import read_manifest
from mtlue._protect import ProtectedDataset
from mtlue.datasets import ImageTable

_SHOWN = 6
_ENDINGS = (".png", ".jpg", ".jpeg", ".pdf", ".svg")
# Of the images that are shown, as shares of all levels: more than rounding.
_MORE = 1 / 255
_HELP = "draw clean photos, perturbations and protected photos"
_DESCRIPTION = (
    "Draw clean photos, their perturbations, stretched to all levels, and the protected photos, with PSNR and SSIM below."
)


def add_to(commands: Any) -> None:
    """Add the command to those of ``mtlue``."""
    parser = commands.add_parser("preview", help=_HELP, description=_DESCRIPTION, allow_abbrev=False)
    add_photos(parser)
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="the protected folder")
    parser.add_argument("--out", type=Path, required=True, metavar="PICTURE", help="picture to write, such as preview.png")
    chosen = parser.add_mutually_exclusive_group()
    chosen.add_argument("--count", type=positive, default=_SHOWN, metavar="N", help=f"how many photos (default: {_SHOWN})")
    chosen.add_argument("--images", type=natural, nargs="+", metavar="N", help="which photos, by their number from 0")
    parser.set_defaults(run=run, interrupted="interrupted; nothing was written")


def run(options: argparse.Namespace) -> int:
    """Draw the picture."""
    check_file(options.out, "--out", _ENDINGS)
    clean, protected = open_pair(options, epsilon=read_manifest(options.folder).share("epsilon"))
    count = min(options.count, len(clean))
    indices = options.images or [round(step * (len(clean) - 1) / max(1, count - 1)) for step in range(count)]
    for index in indices:
        _check_same(index, clean, protected)
    figure = analysis.plot_perturbations(clean, protected, indices=indices)
    for index, axes in zip(indices, figure.axes[-len(indices) :], strict=True):
        quality = evaluation.image_quality(to_unit_floats(to_bytes(clean[index][0])), protected[index][0])
        decibels = f"{quality['psnr']:.1f} dB" if math.isfinite(quality["psnr"]) else "∞"
        similar = f"{quality['ssim']:.3f}" if math.isfinite(quality["ssim"]) else "–"
        axes.set_xlabel(f"PSNR {decibels}\nSSIM {similar}", fontsize="x-small")
        say(f"image {index}: PSNR {decibels}, SSIM {similar}")
    figure.savefig(options.out, dpi=150, facecolor="white", bbox_inches="tight")
    say(f"{options.out}: {len(indices)} photos")
    return 0


def _check_same(index: int, clean: ImageTable, protected: ProtectedDataset[Tensor]) -> None:
    """Refuse a pair of photos if one was not made from the other.

    Raises:
        ValueError: it was not.
    """
    if index >= len(clean):
        raise ValueError(f"--images: expected numbers from 0 to {len(clean) - 1}, got {index}")
    before, after = clean[index][0], protected[index][0]
    if before.shape != after.shape or float((before - after).abs().max()) > protected.epsilon + _MORE:
        raise ValueError(
            f"PHOTOS: photo {index} is not the one that was protected; use the table and --image-size of the protection"
        )
