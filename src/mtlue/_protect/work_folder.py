"""Where a store is written until it is whole."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mtlue._formats import SETTINGS, read_json
from mtlue._runtime.files import write_bytes


@dataclass(frozen=True)
class WorkFolder:
    """The folder ``<path>.partial`` of a call that streams to ``path``: what an interrupted call is taken up from.

    Attributes:
        final: Where the store will be.
        work: Where it is written, beside what is needed to go on.
    """

    final: Path
    work: Path

    @classmethod
    def claim(cls, path: str | os.PathLike[str] | None) -> WorkFolder | None:
        """The folders of a call, or None if it streams to no path.

        Raises:
            FileExistsError: the path is taken.
        """
        if path is None:
            return None
        final = Path(path)
        if final.exists():
            raise FileExistsError(
                f"path: {final} exists; open a finished store with mtlue.ProtectedDataset.load, or choose another path"
            )
        work = final.with_name(final.name + ".partial")
        return cls(final, work)

    def check_settings(self, settings: dict[str, Any]) -> None:
        """Note the settings of this call, or check that they are those of the call that is taken up again.

        Raises:
            ValueError: they are not, or the note is damaged.
        """
        self.work.mkdir(parents=True, exist_ok=True)
        file = self.work / SETTINGS
        if not file.exists():
            write_bytes(json.dumps(settings).encode(), file)
            return
        try:
            other = read_json(file)
        except ValueError as error:
            raise ValueError(f"path: {self.work} is damaged and cannot be taken up ({error}); delete it") from None
        changed = [name for name in settings if other.get(name) != settings[name]]
        if changed:
            raise self.left_by_another_call(changed)

    def left_by_another_call(self, changed: list[str]) -> ValueError:
        """The error of a call that cannot take up what is in the folder, since these settings differ."""
        return ValueError(
            f"path: {self.work} was left by a call with another {', '.join(changed)}; repeat that call, or delete it"
        )
