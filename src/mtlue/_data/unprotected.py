"""Refuse to protect a set that is protected already."""

from __future__ import annotations

from mtlue._data.wrappers import wrapped

_MOST_WRAPPERS = 10_000


def check_unprotected(name: str, dataset: object) -> None:
    """Refuse to perturb a set a second time.

    Whoever reads or holds protected images says so with an attribute ``is_protected``. Wrappers are searched through their
    attributes ``dataset`` and ``datasets``, as torch's own have. A list of the samples cannot be told from clean ones.

    Args:
        name: Argument that the set was given as.
        dataset: Any data set or stream.

    Raises:
        ValueError: the set is protected, is an export that is read again, or wraps or contains such a set.
    """
    waiting, seen = [dataset], dict[int, object]()
    # An object may create new ones for any attribute that is asked for.
    while waiting and len(seen) < _MOST_WRAPPERS:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen[id(each)] = each
        if getattr(each, "is_protected", False) is True:
            raise ValueError(f"{name}: it is protected already, and the budgets would add up; give the clean set")
        waiting += wrapped(each)
