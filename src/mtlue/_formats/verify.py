"""Check whether a folder is as it was written."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mtlue._formats.export import read_manifest
from mtlue._formats.manifest import EXPORT_MANIFEST, Fields, file_fault, files_in
from mtlue._formats.readme import README
from mtlue._formats.stored_images import FORMAT, MANIFEST, OLD_FORMAT, StoredImages

_SHOWN = 20
# What the owner of an export may rewrite, and what Hugging Face adds to it: none of it is part of the set.
_BESIDE = (README, ".gitattributes")
_CACHE = ".cache/huggingface/"


@dataclass(frozen=True)
class Description:
    """What `mtlue.verify` found in a folder.

    Attributes:
        kind: ``"export"`` for a folder of `mtlue.ProtectedDataset.export`, ``"store"`` for the folder of ``protect(path=…)``.
        length: Number of samples.
        tasks: Names of the tasks.
        epsilon: The budget on the scale of [0, 1].
        files: Number of files, without the manifest.
        bytes: Bytes in them.

    Example:
        >>> import tempfile
        >>> import torch, mtlue
        >>> from mtlue import baselines
        >>> protected = baselines.random_noise([(torch.rand(3, 8, 8), label) for label in (0, 1)], tasks={"gender": 2})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     protected.export(f"{folder}/out")
        ...     found = mtlue.verify(f"{folder}/out")
        >>> found.kind, found.length, found.tasks, found.files
        ('export', 2, ('gender',), 3)
    """

    kind: str
    length: int
    tasks: tuple[str, ...]
    epsilon: float
    files: int
    bytes: int


def verify(folder: str | os.PathLike[str]) -> Description:
    """Check every file of a store or an export against its manifest.

    A manifest finds accidents and clumsy changes. It is not a signature: somebody who changes a file on purpose can write a new
    manifest. You may rewrite the README.md of an export, so it is not compared.

    Args:
        folder: The folder that `mtlue.ProtectedDataset.export` or ``protect(path=…)`` wrote.

    Returns:
        What the manifest states.

    Raises:
        FileNotFoundError: the folder has no manifest.
        ValueError: files are missing, changed, truncated or unknown to the manifest. The message names them.

    Example:
        >>> import pathlib, tempfile
        >>> import torch, mtlue
        >>> from mtlue import baselines
        >>> protected = baselines.random_noise([(torch.rand(3, 8, 8), label) for label in (0, 1)], tasks={"gender": 2})
        >>> with tempfile.TemporaryDirectory() as name:
        ...     folder = pathlib.Path(name, "out")
        ...     protected.export(folder)
        ...     _ = (folder / "images" / "000001.png").write_bytes(b"")
        ...     mtlue.verify(folder)
        Traceback (most recent call last):
        ...
        ValueError: folder: ...out differs from its manifest: images/000001.png has 0 bytes, expected ...
    """
    path = Path(folder)
    if (path / MANIFEST).is_file() and not (path / EXPORT_MANIFEST).is_file():
        kind, manifest, fields = "store", MANIFEST, _store_fields(path)
    else:
        kind, manifest, fields = "export", EXPORT_MANIFEST, read_manifest(path)
    try:
        files, length, epsilon = fields.files(), fields.count("length"), fields.share("epsilon")
        tasks = tuple(_name(fields, entry) for entry in fields.items("tasks"))
    except ValueError as error:
        raise ValueError(f"folder: {path} cannot be checked: {error}") from None
    faults = [fault for name, entry in files.items() if (fault := file_fault(path / name, name, entry)) is not None]
    known = {manifest, *files, *(_BESIDE if kind == "export" else ())}
    faults += [f"{name} is not in the manifest" for name in files_in(path) if name not in known and not name.startswith(_CACHE)]
    if faults:
        shown = [*faults[:_SHOWN], *([f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else [])]
        raise ValueError(f"folder: {path} differs from its manifest: {'; '.join(shown)}")
    if kind == "store":
        StoredImages(path).check_layout()
    return Description(kind, length, tasks, epsilon, len(files), sum(size for size, _ in files.values()))


def _store_fields(path: Path) -> Fields:
    try:
        fields = Fields.read(path / MANIFEST)
        fields.check(FORMAT, OLD_FORMAT)
    except ValueError as error:
        raise ValueError(f"folder: the store {path} cannot be used: {error}") from None
    return fields


def _name(fields: Fields, entry: object) -> str:
    if not isinstance(entry, list) or len(entry) != 3 or not isinstance(entry[0], str):
        raise fields.wrong("tasks", "name, kind and arguments of each task")
    return entry[0]
