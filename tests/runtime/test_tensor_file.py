"""The container of generators and checkpoints: what goes in comes out, and no changed byte passes."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import random
import re
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import mtlue
from mtlue._runtime import load_tensors, save_tensors
from mtlue._runtime.tensor_file import _HEAD, read_tensor_file, write_tensor_file
from optional import needs
from snapshots import equal

CONTENT = {
    "weights": torch.arange(6.0).view(2, 3),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "empty": torch.empty(0, 3, dtype=torch.int32),
    "many axes": torch.ones([1] * 64),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "flags": torch.tensor([True, False]),
    "sliced": torch.arange(10)[::3],
    "nested": {1: [None, True, -3, 0.1, "ä\n"], (2, "b"): ({"x", "y"}, b"\x00\xff")},
    "large": 2**70,
    "infinite": math.inf,
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    save_tensors(CONTENT, tmp_path / "file.pt")
    return tmp_path / "file.pt"


def test_what_is_saved_is_loaded(file: Path) -> None:
    found = load_tensors(file)
    assert equal(found, CONTENT)
    assert list(found) == list(CONTENT)
    assert all(found[name].dtype == value.dtype for name, value in CONTENT.items() if isinstance(value, torch.Tensor))
    assert [type(value) for value in found["nested"][2, "b"]] == [set, bytes]


def test_it_is_a_safetensors_file(file: Path) -> None:
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert header["0"] == {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}
    assert all(isinstance(value, str) for value in header["__metadata__"].values())
    assert (8 + length) % 8 == 0
    safetensors = needs("safetensors.torch", extra="test")
    assert torch.equal(safetensors.load_file(file)["0"], CONTENT["weights"])


def test_the_order_of_the_axes_in_memory_stays(tmp_path: Path) -> None:
    image = torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last)
    save_tensors({"a": image, "b": image.contiguous()}, tmp_path / "file.pt")
    found = load_tensors(tmp_path / "file.pt")
    assert torch.equal(found["a"], image)
    assert (found["a"].stride(), found["b"].stride()) == (image.stride(), image.contiguous().stride())


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (object(), r"content\['a'\]\[1\]: expected tensors, numbers, strings, and dicts and lists of them, got object"),
        (torch.zeros(2, dtype=torch.complex64), r"content\['a'\]\[1\]: a tensor of torch.complex64"),
        (torch.eye(2).to_sparse(), r"content\['a'\]\[1\]: a tensor of torch.float32, torch.sparse_coo, cannot be saved"),
    ],
)
def test_what_cannot_be_saved_is_named_and_leaves_nothing(tmp_path: Path, value: object, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        save_tensors({"a": [1, value]}, tmp_path / "file.pt")
    assert list(tmp_path.iterdir()) == []


def changed(content: bytes, draw: random.Random, number: int) -> bytes:
    """A bit flipped, or the end cut off, somewhere."""
    if number % 4 == 3:
        return content[: draw.randrange(len(content))]
    flipped = bytearray(content)
    # Half of them in the header, which is far shorter than the rest.
    end = 8 + int.from_bytes(content[:8], "little")
    flipped[draw.randrange(end if number % 2 else len(content))] ^= 1 << draw.randrange(8)
    return bytes(flipped)


def test_no_changed_generator_is_read(make_generator: Any, tmp_path: Path) -> None:
    draw, path = random.Random(0), tmp_path / "key.pt"
    make_generator().save(path)
    whole = path.read_bytes()
    for number in range(120):
        path.write_bytes(changed(whole, draw, number))
        with pytest.raises(ValueError, match=r"^path: .*key\.pt is damaged, or is not a generator saved by mtlue: "):
            mtlue.UEGenerator.load(path)
    path.write_bytes(whole + b"0")
    with pytest.raises(ValueError, match=r"its tensors take \d+ bytes, there are"):
        mtlue.UEGenerator.load(path)
    path.write_bytes(whole)
    assert equal(mtlue.UEGenerator.load(path).state_dict(), make_generator().state_dict())


def test_no_changed_checkpoint_is_taken_up(script: Any, tmp_path: Path) -> None:
    draw, path = random.Random(1), tmp_path / "run.pt"
    script.fit("em", path, epochs=1)
    whole = path.read_bytes()
    for number in range(60):
        path.write_bytes(changed(whole, draw, number))
        with pytest.raises(ValueError, match=r"^checkpoint: .*run\.pt is damaged, or is not a checkpoint"):
            script.fit("em", path, epochs=1)


def entries(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something lies in a tree of dicts and lists."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, each in pairs:
        yield (*path, name)
        yield from entries(each, (*path, name))


@contextmanager
def named(words: str) -> Iterator[None]:
    """If there is an error, it is a ValueError that names the file."""
    try:
        yield
    except ValueError as error:
        if re.search(words, str(error)) is None:
            raise


WRONG: list[Any] = [-1, 2**70, math.nan, "x", [], {"a": 1}, torch.zeros(2, 7)]


def edits(content: Any) -> Iterator[tuple[tuple[Any, ...], Any, Any]]:
    """Where something was edited, the content as it is then, and what stands there; None where it was taken away."""
    # One tensor of a network is as good as another.
    chosen = {tuple("" if "." in str(step) else step for step in where): where for where in entries(content) if len(where) < 4}
    for number, where in enumerate(chosen.values()):
        for wrong in (None, WRONG[number % len(WRONG)]):
            edited = copy.deepcopy(content)
            inner = edited
            for step in where[:-1]:
                inner = inner[step]
            if wrong is None:
                del inner[where[-1]]
            else:
                inner[where[-1]] = wrong
            yield where, edited, wrong


def test_an_edited_checkpoint_ends_in_words_that_name_it(script: Any, tmp_path: Path) -> None:
    """Whatever is edited, with a hash that is true: only what has the right type and shape passes."""
    path = tmp_path / "run.pt"
    script.fit("em", path, epochs=1)
    for where, edited, wrong in edits(load_tensors(path)):
        save_tensors(edited, path)
        # Checkpoints of 0.2.0 do not say whether a gradient was seen.
        missing = wrong is None and len(where) < 3 and where[-1] != "gradient_seen"
        # What fits in type and shape, such as another momentum, cannot be told from what belongs there.
        with pytest.raises(ValueError, match=r"run\.pt") if missing else named(r"run\.pt") as caught:
            script.fit("em", path, epochs=1)
        assert not missing or where == ("format",) or str(where[-1]) in str(caught.value)


def test_an_edited_generator_ends_in_words_that_name_it(make_generator: Any, tmp_path: Path) -> None:
    path = tmp_path / "key.pt"
    make_generator().save(path)
    for where, edited, wrong in edits(load_tensors(path)):
        save_tensors(edited, path)
        missing = wrong is None and len(where) < 3
        with pytest.raises(ValueError, match=r"key\.pt") if missing else named(r"key\.pt"):
            mtlue.UEGenerator.load(path)


def test_files_of_earlier_versions_are_read(make_generator: Any, tmp_path: Path) -> None:
    generator, path = make_generator(), tmp_path / "key.pt"
    content = {"format": "mtlue generator 1", "config": generator.config(), "trained": True, "state": generator.state_dict()}
    torch.save(content, path)
    assert equal(mtlue.UEGenerator.load(path).state_dict(), generator.state_dict())
    whole = path.read_bytes()
    for length in range(2, len(whole), len(whole) // 20):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"key\.pt is damaged, or is not a generator saved by mtlue: it cannot be read$"):
            mtlue.UEGenerator.load(path)


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder, expected a generator saved by mtlue"):
        mtlue.UEGenerator.load(tmp_path)


def signed(header: Any, data: bytes = b"") -> bytes:
    """A file with any header and the checksum that belongs to it, as somebody makes it who means harm."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    rest = text.removeprefix(b'{"__metadata__":{"sha256":"' + b"0" * 64)
    length = (len(_HEAD) + 64 + len(rest)).to_bytes(8, "little")
    return length + _HEAD + hashlib.sha256(length + rest + data).hexdigest().encode() + rest + data


def with_entries(entries: str, tree: str = "null", form: str = "mtlue tensors 1") -> bytes:
    metadata = json.dumps({"format": form, "tree": tree})[1:-1]
    return f'",{metadata}}}{entries}}}'.encode()


def read(content: bytes, folder: Path) -> Any:
    path = folder / "fuzzed.pt"
    path.write_bytes(content)
    return load_tensors(path)


def test_a_header_with_a_true_checksum_is_held_to_the_rules_all_the_same(tmp_path: Path) -> None:
    def entry(**changes: Any) -> str:
        return ',"0":' + json.dumps({"dtype": "U8", "shape": [4], "data_offsets": [0, 4], **changes})

    assert read(signed(with_entries(entry(), '{"tensor": 0}'), b"1234"), tmp_path).tolist() == [49, 50, 51, 52]
    wrong: list[tuple[bytes, str]] = [
        (signed(with_entries(entry(dtype="X")), b"1234"), "header cannot be read"),
        (signed(with_entries(entry(shape=[2**40]), b"1234".decode()), b"1234"), "bytes"),
        (signed(with_entries(entry(shape=[0, 2**63], data_offsets=[0, 0]))), "shape"),
        (signed(with_entries(entry(shape=[0, 2**62], data_offsets=[0, 0]))), "shape"),
        (signed(with_entries(entry(shape=[-4])), b"1234"), "shape"),
        (signed(with_entries(entry(shape=[True, 4])), b"1234"), "shape"),
        (signed(with_entries(entry(data_offsets=[0, 5])), b"1234"), "has 5 bytes"),
        (signed(with_entries(entry(data_offsets=[1, 5])), b"12345"), "gap"),
        (signed(with_entries(entry(), '{"tensor": 1}'), b"1234"), "tree cannot be read"),
        (signed(with_entries(entry(), '{"tensor": -1}'), b"1234"), "tree cannot be read"),
        (signed(with_entries(entry(), '{"channels_last": 0}'), b"1234"), "tree cannot be read"),
        (signed(with_entries(entry(), '{"code": "print"}'), b"1234"), "tree cannot be read"),
        (signed(with_entries(entry(), "[" * 100_000), b"1234"), "header cannot be read"),
        (signed(with_entries(entry() + entry()), b"1234"), "twice"),
        (signed(with_entries(',"1":{}'), b""), "header cannot be read"),
        (signed(with_entries("", form="other")), "its format is 'other'"),
        (signed(b'"}}}'), "header cannot be read"),
        ((10**12).to_bytes(8, "little") + _HEAD + b"0" * 64, "header would have 1000000000000 bytes"),
        (b"", "does not start"),
    ]
    for content, words in wrong:
        with pytest.raises(ValueError, match=words) as caught:
            read(content, tmp_path)
        assert "fuzzed.pt" in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["tensor", "dict", "tuple", "set", "bytes", "dtype", "0"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(entry=JSON, tree=JSON, size=st.integers(0, 20))
def test_any_header_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, entry: Any, tree: Any, size: int) -> None:
    content = signed(with_entries(f',"0":{json.dumps(entry)}', json.dumps(tree)), bytes(size))
    with pytest.raises(ValueError, match=r"fuzzed\.pt"):
        read(content, tmp_path_factory.getbasetemp())


@given(shape=st.lists(st.integers(-1, 5), max_size=4), dtype=st.sampled_from(["U8", "F32", "BF16", "I64", "BOOL", ""]),
       stop=st.integers(-1, 64), tree=JSON)  # fmt: skip
def test_any_entry_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, shape: list[int], dtype: str, stop: int, tree: Any
) -> None:
    entry = json.dumps({"dtype": dtype, "shape": shape, "data_offsets": [0, stop]})
    content = signed(with_entries(f',"0":{entry}', json.dumps([{"tensor": 0}, tree])), bytes(max(stop, 0)))
    with named(r"fuzzed\.pt"):
        assert list(read(content, tmp_path_factory.getbasetemp())[0].shape) == shape


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(max_size=9),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.integers() | st.text(), inner),
    max_leaves=20,
))  # fmt: skip
def test_plain_values_come_back(tmp_path_factory: pytest.TempPathFactory, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "plain.pt"
    with path.open("wb") as file:
        write_tensor_file(OrderedDict(value=value), file)
    with path.open("rb") as file:
        assert read_tensor_file(file) == {"value": value}
