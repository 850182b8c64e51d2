"""A task of every kind of the package."""

from __future__ import annotations

import mtlue

ALL_TASKS = [mtlue.Classification(3), mtlue.Segmentation(4), mtlue.Depth(), mtlue.SurfaceNormals()]
