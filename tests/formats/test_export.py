"""Exports: whole or not there, taken up after a kill, gone on with, and checked against their manifest."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.utils.data import ConcatDataset, Subset

import mtlue
from mtlue import baselines, datasets, evaluation
from mtlue._formats.manifest import signed
from optional import needs

TASKS = {"shoe": mtlue.Classification(2), "parts": mtlue.Segmentation(3)}


def make_set(seed: int = 0, length: int = 11, tasks: Any = None, classes: Any = None) -> Any:
    random = torch.Generator().manual_seed(seed)
    images = torch.randint(256, (length, 3, 6, 7), generator=random, dtype=torch.uint8)
    maps = torch.randint(3, (length, 6, 7), generator=random)
    clean = WithClasses((image, {"shoe": index % 2, "parts": maps[index]}) for index, image in enumerate(images))
    clean.classes = classes
    return baselines.random_noise(clean, tasks=TASKS if tasks is None else tasks)


class WithClasses(list[Any]):
    """A data set that may tell the names of its classes."""

    classes: Any = None


class Four(datasets.PNG):
    """Small parts, so that a small set has several."""

    part_size = 4


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


FORMATS: dict[str, Callable[[], Any]] = {
    "png": Four,
    "npy": lambda: "npy",
    "webdataset": lambda: datasets.TarShards(4),
    "parquet": lambda: datasets.ParquetShards(4),
}


def format_of(name: str) -> Any:
    if name == "parquet":
        needs("pyarrow", extra="huggingface")
    return FORMATS[name]()


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_exported_is_verified(tmp_path: Path, name: str) -> None:
    safe = make_set(classes={"shoe": ["other", "shoe"]})
    safe.export(tmp_path / "out", format=format_of(name))
    found = mtlue.verify(tmp_path / "out")
    assert (found.kind, found.length, found.tasks, found.epsilon) == ("export", 11, ("shoe", "parts"), 8 / 255)
    files = files_of(tmp_path / "out")
    assert found.files == len(files) - 1
    assert found.bytes == sum(map(len, files.values())) - len(files["mtlue.json"])
    assert os.listdir(tmp_path) == ["out"]


def test_the_manifest_tells_what_it_should_and_no_more(tmp_path: Path) -> None:
    make_set().export(tmp_path / "out")
    manifest = json.loads((tmp_path / "out" / "mtlue.json").read_text())
    assert set(manifest) == {
        "format", "version", "protected", "layout", "length", "epsilon", "tasks", "behind", "parts", "files", "sha256",
    }  # fmt: skip
    assert manifest["version"] == mtlue.__version__
    assert manifest["protected"] is True
    assert set(manifest["files"]) == set(files_of(tmp_path / "out")) - {"mtlue.json"}


@pytest.mark.parametrize("name", FORMATS)
def test_equal_sets_give_equal_bytes_however_they_are_divided(tmp_path: Path, name: str) -> None:
    for folder in ("a", "b"):
        make_set().export(tmp_path / folder, format=format_of(name))
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    if name == "png":
        make_set().export(tmp_path / "c")
        rest = [{path: each for path, each in files_of(tmp_path / folder).items() if path != "mtlue.json"} for folder in "ac"]
        assert rest[0] == rest[1]


def one_of(files: dict[str, bytes], change: str) -> tuple[str, str]:
    name = next(path for path in files if path != "mtlue.json")
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
    with pytest.raises(ValueError, match="is not as it was written") as caught:
        mtlue.verify(tmp_path / "out")
    # All of it at once.
    assert words in str(caught.value)
    assert path in str(caught.value)
    assert "extra.txt is not in the manifest" in str(caught.value)


def test_a_store_is_verified_too(tmp_path: Path) -> None:
    clean = [(torch.rand(3, 4, 5), index % 2) for index in range(3)]
    baselines.random_noise(clean, tasks={"shoe": 2}, path=tmp_path / "store")
    found = mtlue.verify(tmp_path / "store")
    assert (found.kind, found.length, found.tasks, found.files, found.bytes) == ("store", 3, ("shoe",), 1, 180)
    (tmp_path / "store" / "more").write_text("")
    (tmp_path / "store" / "images.bin").write_bytes(bytes(180))
    words = "images.bin does not have the expected checksum: it was changed; more is not in the manifest"
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
        (None, "holds no JSON object"),
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
        with pytest.raises(FileNotFoundError, match=r"is no finished export of mtlue, it has no mtlue\.json"):
            mtlue.verify(folder)


@contextmanager
def stopped_at(monkeypatch: pytest.MonkeyPatch, at: int) -> Iterator[list[int]]:
    """Stop at the n-th operation on files of the library, before it is done."""
    calls = [0]

    def counted(real: Any) -> Any:
        def wrapper(*arguments: Any, **named: Any) -> Any:
            calls[0] += 1
            if calls[0] > at:
                raise KeyboardInterrupt
            return real(*arguments, **named)

        return wrapper

    with monkeypatch.context() as patch:
        for module, name in ((os, "replace"), (os, "fsync"), (os, "unlink"), (os, "rmdir"), (os, "mkdir"), (shutil, "rmtree")):
            patch.setattr(module, name, counted(getattr(module, name)))
        yield calls


@pytest.mark.parametrize("append", [False, True])
@pytest.mark.parametrize("name", ["png", "webdataset"])
def test_an_export_that_stops_anywhere_goes_on_to_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, append: bool
) -> None:
    safe, more = make_set(length=5), make_set(1, 5)
    for folder in ("whole", "start"):
        safe.export(tmp_path / folder, format=format_of(name))
    if append:
        more.export(tmp_path / "whole", format=format_of(name), append=True)
    whole, start = files_of(tmp_path / "whole"), files_of(tmp_path / "start")
    given, at, done = (more if append else safe), 0, False
    while not done:
        folder = tmp_path / f"stopped{at}"
        if append:
            shutil.copytree(tmp_path / "start", folder)
        with stopped_at(monkeypatch, at):
            try:
                given.export(folder, format=format_of(name), append=append)
                done = True
            except KeyboardInterrupt:
                pass
        if not append:
            # Not there, or whole.
            assert not folder.exists() or files_of(folder) == whole
        elif name == "png" and (folder / "labels.csv").read_bytes() != whole["labels.csv"]:
            assert (folder / "labels.csv").read_bytes() == start["labels.csv"]
        given.export(folder, format=format_of(name), append=append)
        assert files_of(folder) == whole
        mtlue.verify(folder)
        assert not folder.with_name(f"{folder.name}.partial").exists()
        shutil.rmtree(folder)
        at += 1 if name == "webdataset" else 2
    assert at > 20


def test_an_export_that_is_killed_goes_on(tmp_path: Path) -> None:
    code = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
import test_export
written, encode = [], test_export.Four.encode
def encode_or_die(self, image):
    written.append(image)
    if len(written) == int(sys.argv[3]):
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(self, image)
test_export.Four.encode = encode_or_die
test_export.make_set().export(sys.argv[1], format=test_export.Four())
"""
    make_set().export(tmp_path / "whole", format=Four())
    whole, here = files_of(tmp_path / "whole"), Path(__file__).parent
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), *sys.path])}
    for at in (3, 9):
        out = tmp_path / f"out{at}"
        done = subprocess.run(
            [sys.executable, "-c", code, str(out), str(here), str(at)], capture_output=True, check=False, env=environment
        )
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        assert not out.exists()
        unfinished = out.with_name(f"{out.name}.partial")
        for folder in (unfinished, unfinished / "parts" / "000000"):
            with pytest.raises(ValueError, match="is an unfinished export; repeat the call"):
                datasets.ImageTable(folder)
        written: list[Any] = []

        class Counted(Four):
            def encode(self, image: Any, written: list[Any] = written) -> bytes:
                written.append(image)
                return super().encode(image)

        Counted.__name__ = Counted.__qualname__ = "Four"
        make_set().export(out, format=Counted())
        assert files_of(out) == whole
        # One for the check of the format; parts of four that were finished are not written again.
        assert len(written) == 1 + 11 - 4 * ((at - 2) // 4)


def test_an_interrupted_call_is_not_taken_up_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with stopped_at(monkeypatch, 40), pytest.raises(KeyboardInterrupt):
        make_set().export(tmp_path / "out", format=Four())
    with pytest.raises(ValueError, match=r"folder: .*out\.partial was left by a call with another images, labels"):
        make_set(1).export(tmp_path / "out", format=Four())
    note = next((tmp_path / "out.partial" / "parts").glob("*.json"))
    note.write_text("{}")
    with pytest.raises(ValueError, match=r"out\.partial is damaged and cannot be taken up \(.* has no entry 'files'\)"):
        make_set().export(tmp_path / "out", format=Four())


def test_two_exports_to_one_folder_are_not_made_at_once(tmp_path: Path) -> None:
    class Nested(Four):
        def encode(self, image: Any) -> bytes:
            if (tmp_path / "out.partial").exists():
                with pytest.raises(BlockingIOError, match="folder: another call is writing"):
                    make_set(1).export(tmp_path / "out")
            return super().encode(image)

    make_set(length=3).export(tmp_path / "out", format=Nested())
    assert mtlue.verify(tmp_path / "out").length == 3


def test_a_call_that_is_repeated_finds_its_export(tmp_path: Path) -> None:
    make_set().export(tmp_path / "out")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    make_set().export(tmp_path / "out")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path != tmp_path} == {
        path: time for path, time in before.items() if path != tmp_path
    }
    for other in (make_set(1), make_set(length=10)):
        with pytest.raises(FileExistsError, match="is not empty; append=True goes on with an export of the same tasks"):
            other.export(tmp_path / "out")


@pytest.mark.parametrize("name", FORMATS)
def test_more_samples_are_appended(tmp_path: Path, name: str) -> None:
    first, second, third = make_set(), make_set(1, 5), make_set(2, 3)
    for each in (first, second, third, third):
        # The last is a call that is repeated, and finds its samples there.
        each.export(tmp_path / "out", format=format_of(name), append=(tmp_path / "out").exists())
    assert mtlue.verify(tmp_path / "out").length == 19
    format = datasets.PNG() if name == "png" else format_of(name)
    reader = mtlue._formats.NPY() if format == "npy" else format  # type: ignore[attr-defined]
    read = list(reader.read(tmp_path / "out"))
    expected = [(safe.stored_image(index), safe[index][1]) for safe in (first, second, third) for index in range(len(safe))]
    assert len(read) == 19
    for (image, targets), (own, labels) in zip(read, expected, strict=True):
        assert torch.equal(image, own)
        assert int(targets["shoe"]) == labels["shoe"]
        assert torch.equal(targets["parts"].long(), labels["parts"])


def test_only_what_is_alike_is_appended(tmp_path: Path) -> None:
    make_set(classes={"shoe": ["other", "shoe"]}).export(tmp_path / "out")
    before = files_of(tmp_path / "out")
    shoes = {"shoe": mtlue.Classification(3), "parts": mtlue.Segmentation(3)}
    wrong: list[tuple[Any, Any, str]] = [
        (make_set(1, tasks=shoes), "png", "tasks: .*out was written with"),
        (make_set(1), "npy", "format: .*out was written with 'PNG', these samples have 'NPY'"),
        (make_set(1, classes={"shoe": ["shoe", "other"]}), "png", "classes: the set has other names of classes"),
    ]
    for safe, format, words in wrong:
        with pytest.raises(ValueError, match=words):
            safe.export(tmp_path / "out", format=format, append=True)
        assert files_of(tmp_path / "out") == before
        shutil.rmtree(tmp_path / "out.partial", ignore_errors=True)
    with pytest.raises(FileNotFoundError, match=r"is no finished export of mtlue, it has no mtlue\.json"):
        make_set().export(tmp_path / "nowhere", append=True)


def test_a_format_that_writes_one_file_cannot_be_appended_to(tmp_path: Path) -> None:
    class OneFile(datasets.ExportFormat):
        def write(self, folder: Path, samples: Any) -> None:
            (folder / "samples.bin").write_bytes(b"".join(bytes(image.flatten().tolist()) for _, image, _ in samples))

        def read(self, folder: Path) -> Iterator[Any]:
            yield from ()

    make_set().export(tmp_path / "out", format=OneFile())
    with pytest.raises(ValueError, match=r"format: OneFile wrote samples\.bin for 2 parts; name files by the index"):
        make_set(1).export(tmp_path / "out", format=OneFile(), append=True)


def test_folders_have_ten_thousand_files_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mtlue._formats.image_files._FILES_A_FOLDER", 4)
    safe = make_set()
    safe.export(tmp_path / "out", format=Four())
    names = [path for path in files_of(tmp_path / "out") if path.startswith(("images", "labels/"))]
    assert names[:6] == [
        "images/000000.png", "images/000001.png", "images/000002.png", "images/000003.png",
        "images/001/000004.png", "images/001/000005.png",
    ]  # fmt: skip
    assert "labels/parts/002/000010.npy" in names
    read = datasets.ImageTable(tmp_path / "out", tasks=TASKS)
    for index in range(11):
        assert torch.equal(read[index][0], safe[index][0])
        assert torch.equal(read[index][1]["parts"], safe[index][1]["parts"])


def test_a_set_that_was_exported_is_not_protected_again(tmp_path: Path) -> None:
    safe = make_set(tasks={"shoe": 2})
    safe.export(tmp_path / "out")
    published = datasets.ImageTable(tmp_path / "out")
    clean = [(torch.rand(3, 6, 7), 0)]
    for twice in (
        published,
        Subset(published, [0, 1]),
        ConcatDataset([clean, published]),
        evaluation.SelectedTasks(safe, {"shoe": 2}, ["shoe"]),
        evaluation.SelectedTasks(Subset(published, [1]), {"shoe": 2}, ["shoe"]),
    ):
        with pytest.raises(ValueError, match="dataset: it is protected already"):
            mtlue.protect(twice)
        with pytest.raises(ValueError, match="dataset: it is protected already"):
            baselines.random_noise(twice)
    (tmp_path / "out" / "mtlue.json").unlink()
    assert not datasets.ImageTable(tmp_path / "out").is_protected


def test_images_of_one_name_do_not_share_a_label_map(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.new("RGB", (4, 4)).save(tmp_path / folder / "x.png")
    (tmp_path / "labels.csv").write_text("file\na/x.png\nb/x.png")
    (tmp_path / "labels" / "parts").mkdir(parents=True)
    numpy = needs("numpy", extra="datasets")
    numpy.save(tmp_path / "labels" / "parts" / "x.npy", numpy.zeros((4, 4), dtype="int64"))
    tasks = {"parts": mtlue.Segmentation(3)}
    with pytest.raises(ValueError, match=r"task 'parts': several images would share .*x\.npy"):
        datasets.ImageTable(tmp_path, tasks=tasks)
    for value, folder in enumerate(("a", "b")):
        (tmp_path / "labels" / "parts" / folder).mkdir()
        numpy.save(tmp_path / "labels" / "parts" / folder / "x.npy", numpy.full((4, 4), value))
    read = datasets.ImageTable(tmp_path, tasks=tasks)
    assert [int(targets["parts"].max()) for _, targets in (read[0], read[1])] == [0, 1]


@pytest.mark.parametrize(
    ("tasks", "words"),
    [
        (
            {"../../escape": mtlue.Segmentation(3)},
            r"task '\.\./\.\./escape' has label maps, and its name cannot",
        ),
        ({"a\\b": mtlue.Depth()}, "cannot be that of a folder"),
        ({"..": mtlue.Depth()}, "cannot be that of a folder"),
        ({"nul": mtlue.Depth()}, "Windows keeps that name"),
        ({"x" * 300: mtlue.Depth()}, "cannot be that of a folder"),
        (
            {"Parts": mtlue.Depth(), "parts": mtlue.Depth()},
            "task 'parts' would share a folder with task 'Parts'",
        ),
        ({"é": mtlue.Depth(), "e\u0301": mtlue.Depth()}, "would share a folder"),
        ({"file": 2}, "task 'file' would share a column with the images"),
        ({"": 2}, "task '' has no name, and a table would lose it"),
        ({"a": 2, " a": 2}, "task ' a' has white space at an end"),
        ({"a\nb": 2}, "a character that cannot be printed"),
        ({"a\ud800": 2}, "a character that cannot be printed"),
        ({"file": 2, "..": mtlue.Depth()}, "task 'file' .*; task '..' "),
    ],
    ids=str,
)
@pytest.mark.parametrize("name", ["png", "webdataset", "parquet"])
def test_names_that_could_not_be_read_again_are_refused(tmp_path: Path, tasks: Any, words: str, name: str) -> None:
    tasks = {("image" if name == "parquet" and each == "file" else each): task for each, task in tasks.items()}
    labels = {
        each: torch.zeros(1, 4, 4) if isinstance(task, mtlue.Depth) else torch.zeros(4, 4).long()
        for each, task in tasks.items()
    }
    labels = {each: 0 if isinstance(tasks[each], int) else label for each, label in labels.items()}
    resolved = {each: mtlue.Classification(task) if isinstance(task, int) else task for each, task in tasks.items()}
    images = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    safe: Any = mtlue.ProtectedDataset(images, [(images[0], labels)], tasks=resolved, epsilon=8 / 255)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=words.replace("'file'", "'image'") if name == "parquet" else words):
        safe.export(tmp_path / "out", format=name)
    assert os.listdir(tmp_path) == []
