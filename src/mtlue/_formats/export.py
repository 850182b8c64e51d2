"""Write a protected set to a folder in a given format, completely or not at all."""

from __future__ import annotations

import itertools
import json
import logging
import os
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from mtlue._data import labels_digest, looked_at
from mtlue._formats.export_format import ExportFormat, ExportSamples
from mtlue._formats.image_files import NPY, PNG
from mtlue._formats.manifest import EXPORT_MANIFEST, Fields, signed
from mtlue._formats.names_table import NamesTable
from mtlue._formats.parquet import ParquetShards
from mtlue._formats.parts import Parts
from mtlue._formats.readme import readme_text
from mtlue._formats.tar_shards import TarShards
from mtlue._formats.work_folder import WorkFolder
from mtlue._runtime import described_by_attributes, tensors_digest
from mtlue._tasks import tasks_to_config

#: The name of the form in manifests.
EXPORT_FORMAT = "mtlue export 1"
_FORMATS: dict[str, type[ExportFormat]] = {"png": PNG, "npy": NPY, "webdataset": TarShards, "parquet": ParquetShards}

logger = logging.getLogger("mtlue.protect")


def export(
    samples: ExportSamples,
    folder: Path,
    *,
    format: str | ExportFormat,
    epsilon: float,
    append: bool,
    learnable: Collection[str] = (),
    names: Path | None = None,
) -> None:
    """Write samples to a folder, and raise what is said there; see `mtlue.ProtectedDataset.export`.

    Args:
        samples: The samples.
        folder: The folder.
        format: A format, or its name.
        epsilon: The budget on the scale of [0, 1].
        append: Whether to write behind an export.
        learnable: Names of the tasks that were left unprotected, for the page that readers see.
        names: File for the private table of names.

    Raises:
        TypeError: the format is a class.
        ValueError: the format is unknown, or cannot hold the images; or samples are appended to a folder with other tasks.
        FileExistsError: the folder holds something else.
    """
    chosen = _chosen(format)
    chosen.check(samples)
    table = None if names is None else NamesTable.checked(names, folder=folder)
    with WorkFolder.owned(Path(os.path.abspath(folder)), argument="folder") as folders:
        parts, settings = Parts(folders), {"append": append, **_settings(samples, chosen, epsilon)}
        if parts.planned:
            folders.take_up(settings)
        else:
            earlier = _read_earlier(samples, chosen, epsilon, folders.final) if append else None
            if _is_there(samples, chosen, epsilon, folders.final, earlier):
                logger.info("export: %s has these samples already", folders.final)
                folders.remove()
                _write_names(table, samples, chosen, folder, append=append)
                return
            if table is not None:
                # What is wrong with it is said before hours of work.
                table.lines(samples, chosen, first=0 if earlier is None else earlier.count("length"), append=append)
            folders.take_up({**settings, "behind": None if earlier is None else earlier.text("sha256")})
            manifest = _write(samples, chosen, parts, epsilon, earlier)
            readme = readme_text(samples.tasks, chosen, epsilon=epsilon, learnable=sorted(learnable))
            parts.plan(manifest, readme.encode(), into_place=earlier is not None)
        parts.publish()
        _write_names(table, samples, chosen, folder, append=append)
    logger.info("export: finished %s", folder)


def _write_names(table: NamesTable | None, samples: ExportSamples, chosen: ExportFormat, folder: Path, *, append: bool) -> None:
    """Write the private table of a finished export."""
    if table is not None:
        table.write(samples, chosen, first=read_manifest(folder).count("behind"), append=append)


def _write(samples: ExportSamples, chosen: ExportFormat, parts: Parts, epsilon: float, earlier: Fields | None) -> bytes:
    """Write all parts but those that an interrupted call wrote, and return the manifest."""
    first, number = (0, 0) if earlier is None else (earlier.count("length"), earlier.count("parts"))
    size = chosen.part_size or len(samples)
    for start in range(0, len(samples), size):
        selected = range(start, min(start + size, len(samples)))
        parts.write(chosen, replace(samples, selected=selected, first=first, part=number))
        number += 1
        logger.info("export: %d of %d images", selected.stop, len(samples))
    files = parts.join(chosen, {} if earlier is None else earlier.files())
    manifest = {
        "format": EXPORT_FORMAT,
        "version": version("mtlue"),
        "protected": True,
        "layout": type(chosen).__name__,
        "length": first + len(samples),
        "epsilon": epsilon,
        "tasks": tasks_to_config(samples.tasks),
        # The index where the last call began. If it is repeated, it finds its samples there.
        "behind": first,
        "parts": number,
        "files": files,
    }
    return json.dumps(signed(manifest)).encode()


def _settings(samples: ExportSamples, chosen: ExportFormat, epsilon: float) -> dict[str, Any]:
    """Return what determines the files, in a form that JSON can hold."""
    return {
        "samples": len(samples),
        "images": tensors_digest(samples.images[index] for index in looked_at(len(samples))),
        "labels": labels_digest(samples.dataset, samples.tasks),
        "tasks": tasks_to_config(samples.tasks),
        "classes": samples.classes,
        "epsilon": epsilon,
        "format": described_by_attributes(chosen),
        "part size": chosen.part_size,
        "version of mtlue": version("mtlue"),
    }


def read_manifest(folder: Path) -> Fields:
    """Read the manifest of an export.

    Raises:
        FileNotFoundError: the folder has no manifest.
        ValueError: the manifest was changed, or is of another format.
    """
    file = folder / EXPORT_MANIFEST
    if not file.is_file():
        raise FileNotFoundError(f"folder: {folder} is not a finished export of mtlue: {EXPORT_MANIFEST} is missing")
    try:
        fields = Fields.read(file)
        fields.check(EXPORT_FORMAT)
    except ValueError as error:
        raise ValueError(f"folder: the export {folder} cannot be used: {error}") from None
    return fields


def _read_earlier(samples: ExportSamples, chosen: ExportFormat, epsilon: float, folder: Path) -> Fields:
    """Read the manifest of the export to append to.

    Raises:
        FileNotFoundError: there is no export.
        ValueError: the manifest was changed, or the samples do not match it.
    """
    earlier = read_manifest(folder)
    for what, found, own in _differences(earlier, samples, chosen, epsilon):
        raise ValueError(
            f"{what}: {folder} was written with {found!r}, but these samples have {own!r}; append samples that match"
        )
    return earlier


def _differences(found: Fields, samples: ExportSamples, chosen: ExportFormat, epsilon: float) -> list[tuple[str, Any, Any]]:
    """List the differences between samples and an export: the name, the export's value and the samples' value."""
    own = {"tasks": tasks_to_config(samples.tasks), "layout": type(chosen).__name__, "epsilon": epsilon}
    told = [("format" if name == "layout" else name, found.content.get(name), value) for name, value in own.items()]
    return [each for each in told if each[1] != each[2]]


def _is_there(samples: ExportSamples, chosen: ExportFormat, epsilon: float, folder: Path, earlier: Fields | None) -> bool:
    """Return whether a repeated call finds its samples: those of the last call, if they are appended.

    Raises:
        FileExistsError: a new folder was expected, and it holds something else.
    """
    if earlier is None:
        if not os.path.lexists(folder) or (folder.is_dir() and not any(folder.iterdir())):
            return False
        with suppress(OSError, ValueError):
            found = read_manifest(folder)
            alike = found.count("length") == len(samples) and not _differences(found, samples, chosen, epsilon)
            if alike and _reads(samples, chosen, folder, 0):
                return True
        raise FileExistsError(
            f"folder: {folder} is not empty; choose a new folder, or pass append=True to add to an export of the same tasks"
        )
    start = earlier.count("behind")
    return earlier.count("length") - start == len(samples) and _reads(samples, chosen, folder, start)


def _reads(samples: ExportSamples, chosen: ExportFormat, folder: Path, start: int) -> bool:
    """Return whether an export holds exactly these samples from an index on."""
    try:
        return all(
            torch.equal(image, own) and all(torch.equal(targets[name].to(value.dtype), value) for name, value in labels.items())
            for (image, targets), (_, own, labels) in zip(
                itertools.islice(chosen.read(folder), start, None), samples, strict=True
            )
        )
    except (OSError, ValueError, LookupError, RuntimeError):
        return False


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
