"""One file for each image, with a table of labels beside them."""

from __future__ import annotations

import csv
import io
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from mtlue._checks import check_count
from mtlue._data import read_image, to_bytes
from mtlue._formats.arrays import decode_array, encode_array, load_array
from mtlue._formats.class_names import CLASSES, write_class_names
from mtlue._formats.export_format import ExportFormat, ExportSamples
from mtlue._formats.names import check_names

#: The name of the table in an export.
LABELS = "labels.csv"
_FILE = "file"
_FILES_A_FOLDER = 10_000


class ImageFiles(ExportFormat):
    r"""A format with one file for each image: PNG, NumPy, or your own.

    Derive from this class and define how an image becomes the bytes of a file, and how to read it back. Labels, class names and
    label maps are written as in `mtlue.ProtectedDataset.export`, whatever the format. `mtlue.datasets.ImageTable` reads the
    folder if you pass it the same format. A format that does not return the exact pixels of the first image is refused, because
    a lossy format would not keep the perturbation.

    Attributes:
        suffix: Extension of the files' names, without a dot.
        channels: Numbers of channels that the format can hold. None for any.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from mtlue import baselines, datasets
        >>> class PPM(datasets.ImageFiles):
        ...     suffix = "ppm"
        ...     channels = (3,)
        ...     def encode(self, image):
        ...         _, height, width = image.shape
        ...         return f"P6 {width} {height} 255\n".encode() + image.permute(1, 2, 0).numpy().tobytes()
        ...     def decode(self, content):
        ...         head, pixels = content.split(b"\n", 1)
        ...         _, width, height, _ = head.split()
        ...         pixels = torch.frombuffer(bytearray(pixels), dtype=torch.uint8)
        ...         return pixels.view(int(height), int(width), 3).permute(2, 0, 1)
        >>> protected = baselines.random_noise([(torch.rand(3, 8, 9), label) for label in (0, 1, 1)], tasks={"gender": 2})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     protected.export(folder, format=PPM())
        ...     published = datasets.ImageTable(folder, format=PPM())
        ...     bool((published[2][0] == protected[2][0]).all())
        True
    """

    suffix: ClassVar[str]
    channels: ClassVar[tuple[int, ...] | None] = None
    part_size = 256
    description = (
        "`labels.csv` has one line for each image: its file, and for each label the number of the class, or -1 where the label "
        "is unknown. `classes.json`, if it is there, names the classes in the order of their numbers. `labels/<name>/`, if it "
        "is there, holds label maps as NumPy files."
    )

    @abstractmethod
    def encode(self, image: Tensor) -> bytes:
        """Return the contents of a file for an image, uint8 (C, H, W)."""

    @abstractmethod
    def decode(self, content: bytes) -> Any:
        """Return the image in a file with these contents: a uint8 tensor (C, H, W) or a PIL image."""

    def check(self, samples: ExportSamples) -> None:
        """Refuse images with other numbers of channels, formats that change pixels, and names that could not be read again.

        Raises:
            ValueError: the samples or the format are refused.
        """
        check_names(samples.tasks, taken=[_FILE])
        name, image = type(self).__name__, samples.images[0].clone()
        if self.channels is not None and samples.channels not in self.channels:
            held = " or ".join(map(str, self.channels))
            raise ValueError(f"format: {name} holds {held} channels, but the images have {samples.channels}; use format='npy'")
        if not torch.equal(self.read_bytes(self.encode(image)), image):
            raise ValueError(
                f"format: {name} does not give back the pixels of the first image; a lossy format changes pixels beyond "
                "epsilon and weakens the protection"
            )

    def write(self, folder: Path, samples: ExportSamples) -> None:
        """Write ``images/000000.<suffix>`` and so on, the table of labels, label maps, and class names."""
        classes = [name for name, task in samples.tasks.items() if not task.is_map]
        maps = [name for name in samples.tasks if name not in classes]
        write_class_names(samples.classes, folder)
        with (folder / LABELS).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow([_FILE, *classes])
            for index, image, targets in samples:
                path = self.file_name(index)
                _write(folder / path, self.encode(image))
                table.writerow([path, *(targets[name].item() for name in classes)])
                for name in maps:
                    _write(_map_path(folder, name, path), encode_array(targets[name]))

    def file_name(self, index: int) -> str:
        """The file of an image in the folder, as the table has it."""
        return _image_path(index, self.suffix)

    def join(self, name: str, files: Sequence[Path]) -> bytes:
        """Join the tables of all parts into one, below a single line with the names of the columns.

        Raises:
            ValueError: the parts differ in columns or class names, or it is another kind of file.
        """
        if name == CLASSES:
            raise ValueError(f"classes: the set has other class names than {files[0]}, so its numbers mean other classes")
        if name != LABELS:
            return super().join(name, files)
        tables = [file.read_bytes().partition(b"\r\n") for file in files]
        if len({head for head, _, _ in tables}) > 1:
            raise ValueError(f"tasks: the set has other columns than {files[0]}")
        head, end, _ = tables[0]
        return head + end + b"".join(rows for _, _, rows in tables)

    def read(self, folder: Path) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Yield the samples in the order of the table."""
        maps = sorted(path.name for path in (folder / "labels").glob("*"))
        with (folder / LABELS).open(encoding="utf-8", newline="") as file:
            (_, *classes), *rows = csv.reader(file)
        for path, *cells in rows:
            targets = {name: torch.tensor(_number(cell)) for name, cell in zip(classes, cells, strict=True)}
            targets |= {name: load_array(find_map(folder, name, path)) for name in maps}
            yield self.read_bytes((folder / path).read_bytes()), targets

    def read_bytes(self, content: bytes) -> Tensor:
        """Return the image in a file with these contents, uint8 (C, H, W)."""
        return to_bytes(read_image(self.decode(content)))


class PNG(ImageFiles):
    """PNG files, for images of 1 or 3 channels.

    Args:
        compress_level: From 0 (none) to 9. For protected photographs of 64 to 256 pixels, level 4 takes 0.4 to 0.9 of the time
            of level 6, Pillow's default, and its files are of the same size within 1 %. Level 1 takes 0.2 to 0.7 of the time,
            and its files are 6 to 13 % larger. Level 9 does not make files smaller.

    Raises:
        TypeError: it is not an integer.
        ValueError: it is out of range.

    Example:
        >>> import torch
        >>> from mtlue import datasets
        >>> image = torch.arange(4096, dtype=torch.int16).remainder(251).byte().view(1, 64, 64)
        >>> len(datasets.PNG(0).encode(image)) > len(datasets.PNG(9).encode(image))
        True
    """

    suffix = "png"
    channels = (1, 3)

    def __init__(self, compress_level: int = 4) -> None:
        if check_count("compress_level", compress_level, minimum=0) > 9:
            raise ValueError(f"compress_level: expected 0 to 9, got {compress_level}")
        self.compress_level = compress_level

    def __repr__(self) -> str:
        return f"{type(self).__name__}(compress_level={self.compress_level})"

    def encode(self, image: Tensor) -> bytes:
        """Return the contents of a PNG file."""
        buffer = io.BytesIO()
        to_pil_image(image).save(buffer, format="PNG", compress_level=self.compress_level)
        return buffer.getvalue()

    def decode(self, content: bytes) -> Any:
        """Return the image as Pillow reads it."""
        return Image.open(io.BytesIO(content))


class NPY(ImageFiles):
    """NumPy files, for images of any number of channels."""

    suffix = "npy"

    def encode(self, image: Tensor) -> bytes:
        """Return the contents of a NumPy file."""
        return encode_array(image)

    def decode(self, content: bytes) -> Tensor:
        """Return the image as a tensor."""
        return decode_array(content)


def find_map(folder: Path, task: str, image: str) -> Path:
    """Return where the label map of an image is: in a folder like the image's if it exists, or else by its name alone."""
    nested = _map_path(folder, task, image)
    return nested if nested.is_file() else folder / "labels" / task / f"{Path(image).stem}.npy"


def _map_path(folder: Path, task: str, image: str) -> Path:
    inside = PurePath(image)
    parts = inside.parts[1:-1] if inside.parts[:1] == ("images",) else inside.parts[:-1]
    if inside.is_absolute() or ".." in parts:
        parts = ()
    return (folder / "labels" / task).joinpath(*parts, f"{inside.stem}.npy")


def _image_path(index: int, suffix: str) -> str:
    # A folder with more files is slow to list, and the first file keeps its place.
    thousands = f"{index // _FILES_A_FOLDER:03d}/" if index >= _FILES_A_FOLDER else ""
    return f"images/{thousands}{index:06d}.{suffix}"


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _number(cell: str) -> float:
    try:
        return int(cell)
    except ValueError:
        return float(cell)
