"""A file for tensors and plain values in which every byte is checked: safetensors with a hash in the header.

The layout is that of safetensors: the length of the header in 8 bytes, the header as JSON, and the bytes of the tensors one
after the other. Its metadata holds the format, the tree of which the tensors are leaves, and the SHA-256 of all other bytes, at
a fixed place. Reading a file runs no code from it. The header is bounded, and sizes are compared with that of the file before
memory is allocated.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from typing import IO, Any

import torch
from torch import Tensor

_FORMAT = "mtlue tensors 1"
# What follows the length. The hash has a fixed place, and other headers are refused.
_HEAD = b'{"__metadata__":{"sha256":"'
_HASH_BYTES = 64
_SMALLEST = 8 + len(_HEAD) + _HASH_BYTES
# The limit of safetensors.
_LONGEST_HEADER = 100_000_000
_NAMES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint64: "U64", torch.uint32: "U32", torch.uint16: "U16",
    torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_TYPES = {name: dtype for dtype, name in _NAMES.items()}


def is_tensor_file(start: bytes) -> bool:
    """Return whether a file that starts with these bytes claims to be such a file."""
    return start[8 : 8 + len(_HEAD)] == _HEAD


def write_tensor_file(content: object, file: IO[bytes]) -> None:
    """Write tensors and plain values, nested in dicts, lists, tuples and sets, to a file that can be rewound.

    Raises:
        TypeError: a value is of another type.
    """
    tensors: list[Tensor] = []
    tree = _encode(content, tensors, "content")
    entries, end = {}, 0
    for index, tensor in enumerate(tensors):
        start, end = end, end + tensor.numel() * tensor.itemsize
        entries[str(index)] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [start, end]}
    metadata = {"format": _FORMAT, "tree": json.dumps(tree)}
    # After the hash: the rest of the metadata, and the tensors.
    rest = f'",{json.dumps(metadata)[1:]}{"," if entries else ""}{json.dumps(entries)[1:]}'.encode()
    rest += b" " * (-(len(_HEAD) + _HASH_BYTES + len(rest)) % 8)
    length = (len(_HEAD) + _HASH_BYTES + len(rest)).to_bytes(8, "little")
    digest = hashlib.sha256(length + rest)
    file.write(length + _HEAD + b"0" * _HASH_BYTES + rest)
    for tensor in tensors:
        raw = _bytes_of(tensor)
        digest.update(raw)
        file.write(raw)
    file.seek(8 + len(_HEAD))
    file.write(digest.hexdigest().encode())


def read_tensor_file(file: IO[bytes]) -> Any:
    """Read what `write_tensor_file` wrote, onto the CPU.

    Raises:
        ValueError: a byte of the file was changed, or its contents have another form.
    """
    size = os.fstat(file.fileno()).st_size
    start = file.read(_SMALLEST)
    length = int.from_bytes(start[:8], "little")
    if len(start) < _SMALLEST or not is_tensor_file(start):
        raise ValueError("it does not start like a file of tensors")
    if not _SMALLEST - 8 <= length <= min(_LONGEST_HEADER, size - 8):
        raise ValueError(f"its header would have {length} bytes, the file has {size}")
    rest = file.read(length - (_SMALLEST - 8))
    try:
        header = json.loads(_HEAD + b"0" * _HASH_BYTES + rest, object_pairs_hook=_without_repetition)
        metadata = header.pop("__metadata__")
        form, tree = metadata["format"], json.loads(metadata["tree"])
        entries = [_entry(header, index) for index in range(len(header))]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"its header cannot be read ({type(error).__name__}: {error})") from None
    if form != _FORMAT:
        raise ValueError(f"its format is {form!r}, expected {_FORMAT!r}")
    _check_offsets([offsets for _, _, offsets in entries], size - 8 - length)
    digest = hashlib.sha256(start[:8] + rest)
    tensors = []
    for dtype, shape, _ in entries:
        tensor = torch.empty(shape, dtype=dtype)
        raw = _bytes_of(tensor)
        if file.readinto(raw) != len(raw):  # type: ignore[attr-defined]  # a buffered file has it
            raise ValueError("it is cut short")
        digest.update(raw)
        tensors.append(tensor)
    if digest.hexdigest().encode() != start[-_HASH_BYTES:]:
        raise ValueError("its checksum does not match its content")
    try:
        return _decode(tree, tensors)
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise ValueError(f"its tree cannot be read ({type(error).__name__}: {error})") from None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _entry(header: Mapping[str, Any], index: int) -> tuple[torch.dtype, list[int], tuple[int, int]]:
    """Return type, shape and place of a tensor. Its place gives its size.

    Raises:
        ValueError: an entry breaks a rule.
    """
    entry = header[str(index)]
    dtype, shape, (start, stop) = _TYPES[entry["dtype"]], entry["shape"], entry["data_offsets"]
    numbers = [*shape, start, stop]
    if not isinstance(shape, list) or not all(type(number) is int and number >= 0 for number in numbers):
        raise ValueError(f"tensor {index} has the shape {shape!r} at {entry['data_offsets']!r}")
    # Next to a side of 0, the others could have any size.
    if len(shape) > 64 or math.prod(max(side, 1) for side in shape) >= 2**62:
        raise ValueError(f"tensor {index} has the shape {shape!r}")
    if math.prod(shape) * dtype.itemsize != stop - start:
        raise ValueError(f"tensor {index} of shape {shape!r} has {stop - start} bytes")
    return dtype, shape, (start, stop)


def _check_offsets(offsets: list[tuple[int, int]], size: int) -> None:
    end = 0
    for start, stop in offsets:
        if start != end:
            raise ValueError("there is a gap or an overlap between its tensors")
        end = stop
    if end != size:
        raise ValueError(f"its tensors take {end} bytes, there are {size}")


def _bytes_of(tensor: Tensor) -> memoryview:
    # As bytes, because NumPy lacks bfloat16.
    content: Any = tensor.flatten().view(torch.uint8).numpy()
    return memoryview(content)


def _encode(value: object, tensors: list[Tensor], where: str) -> Any:
    """Return a value in a form that JSON can hold. A value that JSON lacks becomes a dict with the name of its type.

    Raises:
        TypeError: its type could not be read back.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        # Subclasses, such as NumPy's float64, become plain numbers.
        return int(value) if isinstance(value, int) else float(value)
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, Tensor):
        if value.dtype not in _NAMES or value.layout != torch.strided:
            raise TypeError(f"{where}: a tensor of {value.dtype}, {value.layout}, cannot be saved")
        # Parameters keep this order, and so must an optimiser's state of them. Otherwise sums would round differently.
        last = value.ndim == 4 and not value.is_contiguous() and value.is_contiguous(memory_format=torch.channels_last)
        moved = value.detach().cpu()
        tensors.append((moved.permute(0, 2, 3, 1) if last else moved).contiguous())
        return {"channels_last" if last else "tensor": len(tensors) - 1}
    if isinstance(value, Mapping):
        pairs = [[_encode(name, tensors, where), _encode(each, tensors, f"{where}[{name!r}]")] for name, each in value.items()]
        return {"dict": pairs}
    if isinstance(value, list | tuple | set | frozenset):
        parts = [_encode(each, tensors, f"{where}[{index}]") for index, each in enumerate(value)]
        return parts if isinstance(value, list) else {"tuple" if isinstance(value, tuple) else "set": parts}
    raise TypeError(f"{where}: expected tensors, numbers, strings, and dicts and lists of them, got {type(value).__name__}")


def _decode(node: Any, tensors: list[Tensor]) -> Any:
    if isinstance(node, list):
        return [_decode(each, tensors) for each in node]
    if not isinstance(node, dict):
        return node
    ((kind, content),) = node.items()
    if kind in {"tensor", "channels_last"}:
        if type(content) is not int or content < 0:
            raise ValueError(f"{kind} {content!r}")
        return tensors[content].permute(0, 3, 1, 2) if kind == "channels_last" else tensors[content]
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "dict":
        return {_decode(name, tensors): _decode(each, tensors) for name, each in content}
    parts = [_decode(each, tensors) for each in content]
    return {"tuple": tuple, "set": set}[kind](parts)
