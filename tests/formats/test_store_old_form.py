"""Stores as 0.1 and 0.2 wrote them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import mtlue
from mtlue._formats import StoredImages
from mtlue._formats.manifest import file_entry, signed
from stored import SIZES, images_of, same, shape_of


def old_store(folder: Path, images: list[Tensor], **entries: Any) -> Path:
    folder.mkdir()
    (folder / "images.bin").write_bytes(b"".join(image.numpy().tobytes() for image in images))
    shape = shape_of(images)
    if shape is None:
        shapes = torch.tensor([image.shape for image in images], dtype=torch.int32)
        (folder / "shapes.bin").write_bytes(shapes.numpy().tobytes())
    files = {file.name: file_entry(file) for file in sorted(folder.iterdir())}
    manifest = {"format": "mtlue protected images 1", "length": len(images), "shape": shape, "files": files, **entries}
    (folder / "manifest.json").write_text(json.dumps(signed(manifest), indent=2))
    return folder


@pytest.mark.parametrize("kind", list(SIZES))
def test_a_store_of_the_old_form_is_read(tmp_path: Path, kind: str) -> None:
    images = images_of(SIZES[kind])
    folder = old_store(tmp_path / "store", images)
    stored = StoredImages(folder)
    stored.check_layout()
    assert same(stored, images)
    (folder / "images.bin").write_bytes(bytes((folder / "images.bin").stat().st_size))
    with pytest.raises(ValueError, match=r"images\.bin does not have the expected checksum: it was changed"):
        StoredImages(folder)[22]


def test_a_store_of_the_old_form_is_loaded_and_verified(tmp_path: Path, canvases: Any, make_generator: Any) -> None:
    safe = mtlue.protect(canvases, generator=make_generator(trained=True, gain=100.0), path=tmp_path / "new", progress=False)
    now = json.loads((tmp_path / "new" / "manifest.json").read_text())
    kept = {name: now[name] for name in ("epsilon", "tasks", "labels", "call")}
    old_store(tmp_path / "old", [safe.stored_image(index) for index in range(len(safe))], **kept)
    loaded = mtlue.ProtectedDataset.load(tmp_path / "old", canvases)
    assert all(torch.equal(loaded.stored_image(index), safe.stored_image(index)) for index in range(len(safe)))
    found = mtlue.verify(tmp_path / "old")
    assert (found.kind, found.length, found.files) == ("store", len(safe), 1)
    assert found.bytes == math.prod(safe.stored_image(0).shape) * len(safe)
