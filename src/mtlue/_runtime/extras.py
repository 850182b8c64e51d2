"""Optional libraries, and the message if they are missing."""

from __future__ import annotations

import importlib
from typing import Any


def require(module: str, *, extra: str) -> Any:
    """Import a library that one of mtlue's extras installs.

    Args:
        module: Its full name, such as ``"sklearn.manifold"``.
        extra: The extra that installs it.

    Raises:
        ImportError: it is not installed. The message is the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise ImportError(f'{name} is needed for this and cannot be imported: pip install "mtlue[{extra}]"') from error
