"""Run by ``make build``: what a wheel and a source distribution hold, and what they must not."""

from __future__ import annotations

import re
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

#: Bytes of the largest file and of all files together. The garments, which the examples and tests need, have 4.4 million.
LARGEST, ALTOGETHER = 4_500_000, 16_000_000
WHEEL = ["mtlue/*.py", "mtlue/py.typed", "mtlue-*.dist-info/*"]
SOURCE = [
    "src/mtlue/*.py", "src/mtlue/py.typed", "tests/*", "benchmarks/*", "docs/*", "examples/*", "CHANGELOG.md", "CITATION.cff",
    "CONTRIBUTING.md", "README.md", "LICENSE", "Makefile", "pyproject.toml", "PKG-INFO", ".gitignore",
]  # fmt: skip
NEEDED = {
    "wheel": [
        "mtlue/__init__.py", "mtlue/py.typed", "mtlue-*.dist-info/licenses/LICENSE", "mtlue-*.dist-info/entry_points.txt",
    ],
    "source": [
        "src/mtlue/__init__.py", "src/mtlue/py.typed", "LICENSE", "README.md", "CHANGELOG.md", "CITATION.cff", "docs/index.md",
        "examples/data/fashion-mnist-subset/NOTICE.md",
    ],
}  # fmt: skip
#: Photographs, weights and keys have no place there; pictures of figures and the garments do.
UNWANTED = [
    "*.jpg", "*.jpeg", "*.npy", "*.npz", "*.pt", "*.pth", "*.safetensors", "*.parquet", "*.bin", "*.pyc", "*/output/*",
    "*_build/*",
]  # fmt: skip


def faults(kind: str, files: Mapping[str, int]) -> Iterator[str]:
    """What is wrong with the files of a distribution, given their sizes by name."""
    allowed = WHEEL if kind == "wheel" else SOURCE
    for name, size in files.items():
        if not any(fnmatch(name, pattern) for pattern in allowed):
            yield f"{name} does not belong there"
        if any(fnmatch(name.lower(), pattern) for pattern in UNWANTED):
            yield f"{name} is not to be published"
        if size > LARGEST:
            yield f"{name} has {size} bytes, expected at most {LARGEST}"
    for pattern in NEEDED[kind]:
        if not any(fnmatch(name, pattern) for name in files):
            yield f"{pattern} is missing"
    if sum(files.values()) > ALTOGETHER:
        yield f"the files have {sum(files.values())} bytes, expected at most {ALTOGETHER}"


def dead_links(text: str) -> list[str]:
    """The targets of links and pictures that a package index cannot follow: it has none of the files beside the README."""
    return re.findall(r"\[[^]]*\]\((?!https?://)([^)]+)\)", text)


def description(wheel: Path) -> str:
    """What a package index shows of a wheel."""
    with zipfile.ZipFile(wheel) as file:
        (metadata,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        return file.read(metadata).decode().partition("\n\n")[2]


def contents(path: Path) -> tuple[str, dict[str, int]]:
    """The kind of a distribution, and the sizes of its files by name."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return "wheel", {entry.filename: entry.file_size for entry in wheel.infolist()}
    with tarfile.open(path) as source:
        # Without the folder that all of them are in.
        return "source", {entry.name.partition("/")[2]: entry.size for entry in source if entry.isfile()}


def main(folder: Path) -> None:
    """Check all of a folder."""
    paths = sorted(folder.iterdir())
    if sorted(path.suffix for path in paths) != [".gz", ".whl"]:
        sys.exit(f"expected one source distribution and one wheel, got {[path.name for path in paths]}")
    for path in paths:
        kind, files = contents(path)
        wrong = list(faults(kind, files))
        if kind == "wheel":
            wrong += [f"the description links to {target}" for target in dead_links(description(path))]
        if wrong:
            sys.exit(f"{path.name}: " + "; ".join(wrong))
        sys.stdout.write(f"{path.name}: {len(files)} files, {sum(files.values())} bytes\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
