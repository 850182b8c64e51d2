"""Exports and stores are checked against their manifests, and whatever differs is named."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import mtlue
from exported_sets import FORMATS, files_of, format_of, make_set
from mtlue import baselines
from mtlue._formats.manifest import signed


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_exported_is_verified(tmp_path: Path, name: str) -> None:
    safe = make_set(classes={"shoe": ["other", "shoe"]})
    safe.export(tmp_path / "out", format=format_of(name))
    found = mtlue.verify(tmp_path / "out")
    assert (found.kind, found.length, found.tasks, found.epsilon) == ("export", 11, ("shoe", "parts"), 8 / 255)
    files = {path: content for path, content in files_of(tmp_path / "out").items() if path not in {"mtlue.json", "README.md"}}
    assert found.files == len(files)
    assert found.bytes == sum(map(len, files.values()))
    assert os.listdir(tmp_path) == ["out"]


def test_the_manifest_tells_what_it_should_and_no_more(tmp_path: Path) -> None:
    make_set().export(tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "mtlue.json").read_text())
    assert set(manifest) == {
        "format", "version", "protected", "layout", "length", "epsilon", "tasks", "behind", "parts", "files", "sha256",
    }  # fmt: skip
    assert manifest["version"] == mtlue.__version__
    assert manifest["protected"] is True
    assert set(manifest["files"]) == set(files_of(tmp_path / "out")) - {"mtlue.json", "README.md"}


def one_of(files: dict[str, bytes], change: str) -> tuple[str, str]:
    name = next(path for path in files if path not in {"mtlue.json", "README.md"})
    words = {"missing": "is missing", "changed": "does not have the expected checksum", "cut": "bytes, expected"}
    return name, f"{name} {words[change]}" if change == "missing" else words[change]


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("change", ["missing", "changed", "cut"])
def test_whatever_differs_is_named(tmp_path: Path, name: str, change: str) -> None:
    make_set().export(tmp_path / "out", format=format_of(name))
    path, words = one_of(files_of(tmp_path / "out"), change)
    (tmp_path / "out" / "extra.txt").write_text("extra")
    file = tmp_path / "out" / path
    content = bytearray(file.read_bytes())
    if change == "missing":
        file.unlink()
    elif change == "cut":
        file.write_bytes(content[:-1])
    else:
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    with pytest.raises(ValueError, match="differs from its manifest") as caught:
        mtlue.verify(tmp_path / "out")
    # All of it at once.
    assert words in str(caught.value)
    assert path in str(caught.value)
    assert "extra.txt is not in the manifest" in str(caught.value)


def test_what_describes_a_set_may_be_rewritten(tmp_path: Path) -> None:
    make_set().export(tmp_path / "out")
    (tmp_path / "out" / "README.md").write_text("Mine.")
    # As `git` and Hugging Face's downloads have it.
    (tmp_path / "out" / ".gitattributes").write_text("*.png filter=lfs")
    cache = tmp_path / "out" / ".cache" / "huggingface" / "download"
    cache.mkdir(parents=True)
    (cache / "mtlue.json.metadata").write_text("")
    assert mtlue.verify(tmp_path / "out").length == 11
    make_set(1, 2).export(tmp_path / "out", append=True)
    assert (tmp_path / "out" / "README.md").read_text() == "Mine."


def test_what_is_only_read_is_not_forced_onto_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_set().export(tmp_path / "out")

    def refused(descriptor: int) -> None:
        raise OSError("a file that is open for reading alone")

    monkeypatch.setattr(os, "fsync", refused)
    assert mtlue.verify(tmp_path / "out").length == 11


def test_a_store_is_verified_too(tmp_path: Path) -> None:
    clean = [(torch.rand(3, 4, 5), index % 2) for index in range(3)]
    baselines.random_noise(clean, tasks={"shoe": 2}, path=tmp_path / "store")
    found = mtlue.verify(tmp_path / "store")
    assert (found.kind, found.length, found.tasks, found.files, found.bytes) == ("store", 3, ("shoe",), 1, 180)
    (tmp_path / "store" / "more").write_text("")
    (tmp_path / "store" / "images-000000.bin").write_bytes(bytes(180))
    words = "images-000000.bin does not have the expected checksum: it was changed; more is not in the manifest"
    with pytest.raises(ValueError, match=words):
        mtlue.verify(tmp_path / "store")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"length": -1}, "mtlue.json: length is '-1', expected an integer"),
        ({"length": 2**80}, "mtlue.json: length is"),
        ({"files": []}, r"mtlue.json: files is '\[\]', expected an object"),
        ({"files": {"../x": {"bytes": 1, "sha256": ""}}}, r"files has the entry '\.\./x'"),
        ({"files": {"/etc/passwd": {"bytes": 1, "sha256": ""}}}, "files has the entry '/etc/passwd'"),
        ({"files": {"x": 5}}, "files has the entry 'x': 5"),
        ({"epsilon": "much"}, "mtlue.json: epsilon is 'much', expected a number"),
        ({"epsilon": 10**400}, "mtlue.json: epsilon is"),
        ({"tasks": [5]}, "mtlue.json: tasks is"),
        ({"format": "other"}, "its format is 'other', expected 'mtlue export 1'"),
        ({"sha256": "0"}, "does not have the expected checksum"),
        (None, "does not hold a JSON object"),
    ],
    ids=str,
)
def test_an_edited_manifest_is_told_of_with_its_entry(tmp_path: Path, change: Any, words: str) -> None:
    make_set().export(tmp_path / "out")
    file = tmp_path / "out" / "mtlue.json"
    manifest = json.loads(file.read_text())
    edited = {**signed({**manifest, **(change or {})}), **({"sha256": "0"} if change == {"sha256": "0"} else {})}
    file.write_text("[" * 100_000 if change is None else json.dumps(edited))
    with pytest.raises(ValueError, match=words) as caught:
        mtlue.verify(tmp_path / "out")
    assert "out" in str(caught.value)


def test_a_folder_without_a_manifest_is_none(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FileNotFoundError, match=r"is not a finished export of mtlue: mtlue\.json is missing"):
            mtlue.verify(folder)
