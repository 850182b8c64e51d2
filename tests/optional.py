"""Libraries that some tests need, and what to install where one is missing."""

from __future__ import annotations

from typing import Any

import pytest


def needs(library: str, *, extra: str) -> Any:
    """A module of an optional library; without it the test, or the file of tests, is skipped."""
    name = library.partition(".")[0]
    reason = f'needs the library {name}: pip install "mtlue[{extra}]"'
    module = pytest.importorskip(library, reason=reason)
    # A folder of tests of the same name is imported where the library is missing.
    if getattr(module, "__file__", None) is None:
        pytest.skip(reason, allow_module_level=True)
    return module
