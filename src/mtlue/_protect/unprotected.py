"""A set that is protected already is not protected again."""

from __future__ import annotations

from mtlue._data import wrapped
from mtlue._protect.protected_dataset import ProtectedDataset

_MOST_WRAPPERS = 10_000


def check_unprotected(dataset: object) -> None:
    """Refuse to perturb a set a second time.

    Wrappers are looked through by their attributes ``dataset`` and ``datasets``, which torch's own have. A list of the samples
    cannot be told from clean ones.

    Raises:
        ValueError: it is a protected one, an export that is read again, a wrapper of one, or joined with one.
    """
    waiting, seen = [dataset], dict[int, object]()
    # An object may make new ones of whatever it is asked for.
    while waiting and len(seen) < _MOST_WRAPPERS:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen[id(each)] = each
        if isinstance(each, ProtectedDataset) or getattr(each, "is_protected", False) is True:
            raise ValueError("dataset: it is protected already, and the budgets would add up; give the clean set")
        waiting += wrapped(each)
