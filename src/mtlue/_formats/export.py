"""Writing a protected set to a folder in a format that the caller names or brings."""

from __future__ import annotations

from pathlib import Path

from mtlue._formats.export_format import ExportFormat, ExportSamples
from mtlue._formats.image_files import NPY, PNG

_FORMATS: dict[str, type[ExportFormat]] = {"png": PNG, "npy": NPY}


def export(samples: ExportSamples, folder: Path, *, format: str | ExportFormat) -> None:
    """Write samples to a folder, and raise what is said there; see `mtlue.ProtectedDataset.export`.

    Raises:
        TypeError: the format is a class.
        ValueError: the format is unknown, or cannot hold the images.
        FileExistsError: the folder has something in it.
    """
    chosen = _chosen(format)
    chosen.check(samples)
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"folder: {folder} is not empty")
    folder.mkdir(parents=True, exist_ok=True)
    chosen.write(folder, samples)


def _chosen(format: object) -> ExportFormat:
    if isinstance(format, ExportFormat):
        return format
    if isinstance(format, type):
        raise TypeError(f"format: expected an object such as {format.__name__}(), got the class {format.__name__}")
    names = tuple(_FORMATS)
    if format not in names:
        lossy = "; a lossy format changes pixels beyond epsilon and weakens the protection" if format in ("jpg", "jpeg") else ""
        raise ValueError(f"format: expected one of {names}, got {format!r}{lossy}")
    return _FORMATS[str(format)]()
