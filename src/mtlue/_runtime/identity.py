"""How objects are recognised: in log lines, and in the files of interrupted calls."""

from __future__ import annotations

import functools
import hashlib
import reprlib
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor, nn

_CHECKSUM = "sha256:"
# Digits of a checksum, short enough for a message.
_SHOWN = 12
# Characters that a module may take up in a line of the log.
_LONGEST = 200


def described(value: object) -> str:
    """Return how an object prints. If that says too little, return the call that its attributes suggest, or its name."""
    if isinstance(value, functools.partial):
        parts = [value.func, *value.args]
        named = [f"{name}={described(each)}" for name, each in value.keywords.items()]
        return f"partial({', '.join([*map(described, parts), *named])})"
    if isinstance(value, Tensor):
        return f"Tensor{tuple(value.shape)}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(described, value))}]"
    if isinstance(value, set | frozenset):
        # Their order differs from process to process.
        return f"{{{', '.join(sorted(map(described, value)))}}}"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name!r}: {described(each)}' for name, each in value.items())}}}"
    if isinstance(value, nn.Module):
        return _module(value)
    text = " ".join(repr(value).split())
    if " at 0x" not in text:
        return text
    name = getattr(value, "__qualname__", None)
    return described_by_attributes(value) if name is None else str(name)


@reprlib.recursive_repr()
def described_by_attributes(value: object) -> str:
    """Return the call that makes an object whose arguments are its public attributes: ``MarginPush(margin=2.0)``."""
    public = {name: each for name, each in getattr(value, "__dict__", {}).items() if not name.startswith("_")}
    if isinstance(value, nn.Module):
        public = {**{name: each for name, each in public.items() if name != "training"}, **dict(value.named_children())}
    arguments = ", ".join(f"{name}={described(each)}" for name, each in public.items())
    return f"{type(value).__qualname__}({arguments})" if arguments or not _is_nameless(value) else type(value).__qualname__


def _is_nameless(value: object) -> bool:
    return type(value).__repr__ is object.__repr__


def _module(module: nn.Module) -> str:
    """Describe a module by how it prints, with its attributes if it does not show them.

    Describe a network by a checksum of that.
    """
    kind = type(module)
    silent = kind.__repr__ is nn.Module.__repr__ and kind.extra_repr is nn.Module.extra_repr
    text = described_by_attributes(module) if silent else " ".join(repr(module).split())
    if " at 0x" in text:
        return kind.__qualname__
    return text if len(text) <= _LONGEST else f"{kind.__qualname__}({text_digest(text)[:_SHOWN]})"


def text_digest(text: str) -> str:
    """Return a checksum of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def tensors_digest(tensors: Iterable[Tensor]) -> str:
    """Return a checksum of the types, shapes and values of some tensors, in order."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
        # As bytes, because NumPy lacks bfloat16.
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def tensors_in(value: object) -> Iterator[Tensor]:
    """Yield all tensors of a module, a mapping or a list, at any depth."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, nn.Module):
        yield from tensors_in(value.state_dict())
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from tensors_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors_in(each)


def checksum(digest: str) -> str:
    """Shorten a digest for the settings of a run."""
    return _CHECKSUM + digest[:_SHOWN]


def differences(before: Mapping[str, object], now: Mapping[str, object]) -> dict[str, str]:
    """Describe the settings that differ between two runs, by their names in messages."""
    found = {}
    for name in {*before, *now}:
        was, has = before.get(name), now.get(name)
        if was != has:
            what = f"checksum of the {name}" if _is_checksum(was) or _is_checksum(has) else name
            found[what] = f"{what} was {_shown(was)!r}, is {_shown(has)!r}"
    return dict(sorted(found.items()))


def _is_checksum(value: object) -> bool:
    return isinstance(value, str) and value.startswith(_CHECKSUM)


def _shown(value: object) -> object:
    return value.removeprefix(_CHECKSUM) if isinstance(value, str) else value
