"""A check that costs nothing and always finds the same; run as a script, the command line where there is no check yet."""

from __future__ import annotations

import inspect
import sys
from typing import Any, ClassVar

import mtlue

LANDED = "check" in inspect.signature(mtlue.protect).parameters
_protect = mtlue.protect


class Check:
    """What a check finds."""

    verdict: ClassVar[dict[str, str]] = {"pet": "protected", "lit": "weakly protected"}

    def __str__(self) -> str:
        return "pet  a small network"


def protect(dataset: Any, *, check: bool = True, **settings: Any) -> Any:
    protected: Any = _protect(dataset, **settings, **({"check": False} if LANDED else {}))
    protected.check = Check() if check else None
    return protected


def stand_in() -> None:
    if not LANDED:
        mtlue.protect = protect


if __name__ == "__main__":
    stand_in()
    from mtlue._cli import main

    sys.exit(main())
