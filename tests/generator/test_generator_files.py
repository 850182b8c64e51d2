"""Files of generators: what comes back, and what is said of a damaged, foreign or malicious one."""

from __future__ import annotations

import pickle
import traceback
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mtlue
from mtlue._runtime import load_tensors, save_tensors
from small_generator import batch_for, make


@pytest.mark.parametrize("bound", ["tanh", "clip"])
def test_a_saved_generator_gives_the_same_perturbations(tmp_path: Path, bound: str) -> None:
    generator = make(epsilon=0.1, bound=bound, embedding_channels=5)
    images, targets = batch_for(generator, (7, 6))
    generator.train()(images, targets)
    generator.eval().trained = True
    generator.save(tmp_path / "generator.pt")
    assert [path.name for path in tmp_path.iterdir()] == ["generator.pt"]
    loaded = mtlue.UEGenerator.load(str(tmp_path / "generator.pt"), device="cpu")
    assert torch.equal(loaded(images, targets), generator(images, targets))
    assert loaded.config() == generator.config()
    assert list(loaded.tasks.items()) == list(generator.tasks.items())
    assert not loaded.training
    assert loaded.trained
    assert repr(loaded) == repr(generator)


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return (open, (str(self.path), "w"))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("how", ["pickle", "torch", "inside"])
def test_a_file_with_code_in_it_is_refused_and_not_run(tmp_path: Path, how: str) -> None:
    trap, path = Malicious(tmp_path / "was here"), tmp_path / "generator.pt"
    if how == "pickle":
        path.write_bytes(pickle.dumps(trap))
    elif how == "torch":
        torch.save(trap, path)
    else:
        generator = make()
        torch.save({"format": "mtlue generator 1", "config": generator.config(), "state": trap}, path)
    with pytest.raises(ValueError, match=r"generator\.pt"):
        mtlue.UEGenerator.load(path)
    assert not trap.path.exists()


@settings(max_examples=60)
@given(content=st.binary(max_size=40))
def test_a_file_of_anything_else_is_a_value_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "anything.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"anything\.pt"):
        mtlue.UEGenerator.load(path)


@pytest.mark.parametrize(
    "content",
    [b"", b"no generator", pickle.dumps({"a": Path("b")}), b"PK\x03\x04 half a file"],
    ids=["empty", "text", "pickle", "archive"],
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_what_is_said_of_a_damaged_file_is_ours(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "generator.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged") as caught:
        mtlue.UEGenerator.load(path)
    # Without torch's advice to read the file in a way that runs code from it, which a chained error would show too.
    reason = "it cannot be read" if content.startswith(b"PK") else "it does not start like a file of tensors"
    assert str(caught.value) == f"path: {path} is damaged, or is not a generator saved by mtlue: {reason}"
    assert "weights_only" not in "".join(traceback.format_exception(caught.value))


def test_what_is_missing_from_a_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "generator.pt"
    make().save(path)
    content = load_tensors(path)
    del content["config"]
    save_tensors(content, path)
    with pytest.raises(ValueError, match=r"path: the generator in .*generator\.pt cannot be used: it has no entry 'config'$"):
        mtlue.UEGenerator.load(path)


def test_a_damaged_or_foreign_file_is_a_value_error(tmp_path: Path) -> None:
    path = tmp_path / "generator.pt"
    make().save(path)
    whole = path.read_bytes()
    for length in (len(whole) // 2, len(whole) - 1, 100):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"generator\.pt"):
            mtlue.UEGenerator.load(path)
    path.write_bytes(whole)
    content = load_tensors(path)
    for foreign in (
        {"state_dict": {}},
        [1, 2],
        {name: content[name] for name in ("format", "config")},
        {**content, "state": {}},
        {**content, "state": 5},
        {**content, "config": {}},
        {**content, "config": {**content["config"], "width": 2**63}},
        {**content, "config": {**content["config"], "image_shape": [3, 10**9, 10**9]}},
        {**content, "config": {**content["config"], "tasks": [["age", "Classification", {"num_classes": 10**12}]]}},
        {**content, "config": {**content["config"], "tasks": [[[], "Classification", {"num_classes": 2}]]}},
        {**content, "config": {**content["config"], "tasks": [["age", [], {"num_classes": 2}]]}},
        {**content, "config": {**content["config"], "epsilon": 10**400}},
    ):
        save_tensors(foreign, path)
        with pytest.raises(ValueError, match=r"generator\.pt"):
            mtlue.UEGenerator.load(path)
    with pytest.raises(FileNotFoundError, match=r"^path: the file .*absent\.pt does not exist$"):
        mtlue.UEGenerator.load(tmp_path / "absent.pt")
    with pytest.raises(FileNotFoundError, match=r"^path: the folder .*absent does not exist; make it first"):
        make().save(tmp_path / "absent" / "key.pt")
