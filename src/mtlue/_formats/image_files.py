"""One file an image, with a table of labels beside them."""

from __future__ import annotations

import csv
import io
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from mtlue._data import read_image, to_bytes
from mtlue._formats.arrays import decode_array, encode_array, load_array
from mtlue._formats.class_names import write_class_names
from mtlue._formats.export_format import ExportFormat, ExportSamples

#: The table of an export.
LABELS = "labels.csv"


class ImageFiles(ExportFormat):
    r"""A format with one file an image: PNG, NumPy, or one of your own.

    Derive from this class and say how an image becomes the bytes of a file, and how it is read from them. Labels, names of
    classes and label maps are written as `mtlue.ProtectedDataset.export` says, whatever the format;
    `mtlue.datasets.ImageTable` reads the folder when it is given the same format. A format that does not give back the pixels
    of the first image is refused: a lossy one would not keep the perturbation.

    Attributes:
        suffix: Ending of the files' names, without a dot.
        channels: Numbers of channels that an image of the format may have; None for any.

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

    @abstractmethod
    def encode(self, image: Tensor) -> bytes:
        """The content of the file of an image, uint8 (C, H, W)."""

    @abstractmethod
    def decode(self, content: bytes) -> Any:
        """The image in a file of that content, as a data set may give one: a uint8 tensor (C, H, W) or a PIL image."""

    def check(self, samples: ExportSamples) -> None:
        """Refuse images of other numbers of channels, and a format that changes pixels.

        Raises:
            ValueError: so it is.
        """
        name, image = type(self).__name__, samples.images[0].clone()
        if self.channels is not None and samples.channels not in self.channels:
            held = " or ".join(map(str, self.channels))
            raise ValueError(f"format: {name} holds {held} channels, the images have {samples.channels}; use format='npy'")
        if not torch.equal(self._read(self.encode(image)), image):
            raise ValueError(
                f"format: {name} does not give back the pixels of the first image; a lossy format changes pixels beyond "
                "epsilon and weakens the protection"
            )

    def write(self, folder: Path, samples: ExportSamples) -> None:
        """Write ``images/000000.<suffix>`` and so on, the table of labels, label maps, and names of classes."""
        classes = [name for name, task in samples.tasks.items() if not task.is_map]
        maps = [name for name in samples.tasks if name not in classes]
        (folder / "images").mkdir()
        for name in maps:
            (folder / "labels" / name).mkdir(parents=True)
        write_class_names(samples.classes, folder)
        with (folder / LABELS).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(["file", *classes])
            for index, image, targets in samples:
                path = f"images/{index:06d}.{self.suffix}"
                (folder / path).write_bytes(self.encode(image))
                table.writerow([path, *(targets[name].item() for name in classes)])
                for name in maps:
                    map_path(folder, name, path).write_bytes(encode_array(targets[name]))

    def read(self, folder: Path) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """The samples in the order of the table."""
        maps = sorted(path.name for path in (folder / "labels").glob("*"))
        with (folder / LABELS).open(encoding="utf-8", newline="") as file:
            (_, *classes), *rows = csv.reader(file)
        for path, *cells in rows:
            targets = {name: torch.tensor(_number(cell)) for name, cell in zip(classes, cells, strict=True)}
            targets |= {name: load_array(map_path(folder, name, path)) for name in maps}
            yield self._read((folder / path).read_bytes()), targets

    def _read(self, content: bytes) -> Tensor:
        return to_bytes(read_image(self.decode(content)))


class PNG(ImageFiles):
    """PNG files, which hold images of 1 or 3 channels."""

    suffix = "png"
    channels = (1, 3)

    def encode(self, image: Tensor) -> bytes:
        """The content of a PNG file."""
        buffer = io.BytesIO()
        to_pil_image(image).save(buffer, format="PNG")
        return buffer.getvalue()

    def decode(self, content: bytes) -> Any:
        """The image as Pillow reads it."""
        return Image.open(io.BytesIO(content))


class NPY(ImageFiles):
    """NumPy files, which hold images of any number of channels."""

    suffix = "npy"

    def encode(self, image: Tensor) -> bytes:
        """The content of a NumPy file."""
        return encode_array(image)

    def decode(self, content: bytes) -> Tensor:
        """The image as a tensor."""
        return decode_array(content)


def map_path(folder: Path, task: str, image: str) -> Path:
    """Where the label map of an image is."""
    return folder / "labels" / task / f"{Path(image).stem}.npy"


def _number(cell: str) -> float:
    try:
        return int(cell)
    except ValueError:
        return float(cell)
