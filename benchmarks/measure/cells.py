"""Finished cells, kept on disk: a run that was cut off goes on, and recipes share what is clean."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtlue._runtime.files import write_bytes


class Cells:
    """Records and images by what they are made from.

    Args:
        folder: For all that is made on the way, images among it: never part of the repository.
        committed: JSON file of records that are kept for good.
    """

    def __init__(self, folder: Path, committed: Path) -> None:
        self.folder, self.committed = folder, committed
        for name in ("records", "images", "generators"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self.kept: dict[str, dict[str, Any]] = json.loads(committed.read_text()) if committed.exists() else {}
        self.used: dict[str, dict[str, Any]] = {}

    def get(self, made_from: dict[str, Any]) -> dict[str, Any] | None:
        """A record, or None if it was not made yet."""
        key = name_of(made_from)
        path = self.folder / "records" / f"{key}.json"
        record: dict[str, Any] | None = self.kept.get(key)
        if record is None and path.exists():
            record = json.loads(path.read_text())
        if record is not None:
            self.used[key] = record
        return record

    def put(self, made_from: dict[str, Any], figures: dict[str, Any]) -> dict[str, Any]:
        """Keep figures, together with what they were made from."""
        key = name_of(made_from)
        self.used[key] = {"made_from": made_from, **figures}
        write_bytes(json.dumps(self.used[key]).encode(), self.folder / "records" / f"{key}.json")
        return self.used[key]

    def images(self, made_from: dict[str, Any]) -> Tensor | None:
        """Protected images, or None if they are not here."""
        path = self.folder / "images" / f"{name_of(made_from)}.pt"
        images: Tensor | None = torch.load(path, weights_only=True) if path.exists() else None
        return images

    def put_images(self, made_from: dict[str, Any], images: Tensor) -> None:
        """Keep protected images, for the victims that are still to come."""
        path = self.folder / "images" / f"{name_of(made_from)}.pt"
        torch.save(images, path.with_suffix(".part"))
        path.with_suffix(".part").rename(path)

    def generator_path(self, made_from: dict[str, Any]) -> Path:
        """Where a trained generator is kept."""
        return self.folder / "generators" / f"{name_of(made_from)}.pt"

    def commit(self) -> None:
        """Add all records that were used to the committed ones, a line each."""
        self.kept |= self.used
        lines = [f"{json.dumps(key)}: {json.dumps(record)}" for key, record in sorted(self.kept.items())]
        self.committed.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(("{\n" + ",\n".join(lines) + "\n}\n").encode(), self.committed)


def name_of(made_from: dict[str, Any]) -> str:
    """A short name for what something is made from."""
    return hashlib.sha256(json.dumps(made_from, sort_keys=True).encode()).hexdigest()[:16]
