"""Refuse to protect a set that is protected already."""

from __future__ import annotations

from mtlue._data import wrapped
from mtlue._protect.protected_dataset import ProtectedDataset

_MOST_WRAPPERS = 10_000


def check_unprotected(dataset: object) -> None:
    """Refuse to perturb a set a second time.

    Wrappers are searched through their attributes ``dataset`` and ``datasets``, as torch's own have. A list of the samples
    cannot be told from clean ones.

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
        if isinstance(each, ProtectedDataset) or getattr(each, "is_protected", False) is True:
            raise ValueError("dataset: it is protected already, and the budgets would add up; give the clean set")
        waiting += wrapped(each)
