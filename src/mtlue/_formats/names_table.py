"""The private table of an export, which says which file was made from which of its owner's files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from itertools import accumulate
from pathlib import Path

from torch.utils.data import ConcatDataset, Subset

from mtlue._formats.export_format import ExportFormat, ExportSamples
from mtlue._runtime import sole_owner, write_private

_HEADER = ["file", "original", "position"]


@singledispatch
def original_files(dataset: object) -> Sequence[str] | None:
    """Return the names of the files that the samples of a data set come from, in order, or None if they are unknown.

    They come from its attribute ``files``, as `mtlue.datasets.ImageTable` has, or from ``samples``, pairs of file and class, as
    torchvision's folders have. Only torch's own wrappers are searched, because others may change the order of samples.
    """
    told = getattr(dataset, "files", None)
    if told is None:
        pairs = getattr(dataset, "samples", None)
        told = [pair[0] for pair in pairs if isinstance(pair, tuple) and pair] if isinstance(pairs, list) else None
    return told if isinstance(told, Sequence) and all(isinstance(name, str) for name in told) else None


@original_files.register(Subset)
def _(dataset: Subset[object]) -> Sequence[str] | None:
    files = original_files(dataset.dataset)
    return None if files is None else [files[index] for index in dataset.indices]


@original_files.register(ConcatDataset)
def _(dataset: ConcatDataset[object]) -> Sequence[str] | None:
    ends = list(accumulate(len(each) for each in dataset.datasets))  # type: ignore[arg-type]  # it took only sized ones
    parts = [original_files(each) or [] for each in dataset.datasets]
    whole = [name for part in parts for name in part]
    return whole if len(whole) == ends[-1] else None


@dataclass(frozen=True)
class NamesTable:
    """A CSV file that only its owner can read, with a line for each sample of an export.

    Attributes:
        path: The file.
    """

    path: Path

    @classmethod
    def checked(cls, path: Path, *, folder: Path) -> NamesTable:
        """Return a table after checking that it is not published with a folder.

        Raises:
            ValueError: it would be published.
        """
        inside = path.resolve()
        for public in (folder, folder.with_name(folder.name + ".partial")):
            if public.resolve() in (inside, *inside.parents):
                raise ValueError(f"names: {path} would be published with {folder}; keep the table elsewhere")
        return cls(path)

    def lines(self, samples: ExportSamples, format: ExportFormat, *, first: int, append: bool) -> dict[str, list[str]]:
        """Return the lines of the table by file, including those that exist already.

        Args:
            samples: The samples.
            format: The format, which names the files.
            first: Index of the first sample in the export.
            append: Whether lines of other samples may exist.

        Raises:
            FileExistsError: the file is something else, or the table of another export.
        """
        originals = original_files(samples.dataset)
        if originals is None or len(originals) != len(samples):
            originals = [""] * len(samples)
        own = {
            name: [name, original, str(position)]
            for position, original in enumerate(originals)
            for name in [format.file_name(first + position)]
        }
        before = self._read()
        if any(line != own.get(name, line) for name, line in before.items()) or (not append and before.keys() - own.keys()):
            raise FileExistsError(f"names: {self.path} is the table of another export; choose another file")
        return before | own

    def write(self, samples: ExportSamples, format: ExportFormat, *, first: int, append: bool) -> None:
        """Write the table. Raises what `lines` raises."""
        with sole_owner(self.path, argument="names"):
            lines = self.lines(samples, format, first=first, append=append)
            text = io.StringIO(newline="")
            csv.writer(text).writerows([_HEADER, *lines.values()])
            write_private(text.getvalue().encode("utf-8", "surrogateescape"), self.path)

    def _read(self) -> dict[str, list[str]]:
        if not self.path.exists():
            return {}
        try:
            text = self.path.read_bytes().decode("utf-8", "surrogateescape")
            header, *lines = csv.reader(io.StringIO(text, newline=""))
        except (csv.Error, ValueError):
            header, lines = [], []
        if header != _HEADER or any(len(line) != len(_HEADER) for line in lines):
            raise FileExistsError(f"names: {self.path} exists and is not a table of names; choose another file")
        return {line[0]: line for line in lines}
