"""Archives of samples that WebDataset reads."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from mtlue._checks import check_count
from mtlue._formats.arrays import decode_array, encode_array
from mtlue._formats.class_names import write_class_names
from mtlue._formats.export_format import ExportFormat, ExportSamples
from mtlue._formats.image_files import PNG, ImageFiles
from mtlue._formats.readme import hub_front_matter


class TarShards(ExportFormat):
    """Tar archives with a fixed number of samples each, as the library ``webdataset`` and others read them.

    ``000000.tar`` holds ``000000.png``, ``000000.json`` with the labels of the image by task (-1 for a missing one), and
    ``000000.<task>.npy`` for each task with label maps. If exactly one task has classes, ``000000.cls`` holds its label too.
    Equal samples give equal bytes.

    Args:
        size: Samples in an archive.
        files: Format of the images. PNG if None.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: the size is not positive.

    Example:
        >>> import pathlib, tarfile, tempfile
        >>> import torch
        >>> from mtlue import baselines, datasets
        >>> protected = baselines.random_noise([(torch.rand(3, 8, 8), label) for label in (0, 1, 1)], tasks={"gender": 2})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     protected.export(f"{folder}/out", format=datasets.TarShards(size=2))
        ...     print(sorted(path.name for path in pathlib.Path(folder, "out").iterdir()))
        ...     with tarfile.open(f"{folder}/out/000001.tar") as archive:
        ...         print(archive.getnames())
        ['000000.tar', '000001.tar', 'README.md', 'mtlue.json']
        ['000002.png', '000002.cls', '000002.json']
    """

    description = (
        "Each sample in the tar files is an image, a JSON file with its labels (the number of a class, or -1 where the label "
        "is unknown) and a NumPy file for each label map. WebDataset reads them, and so does Hugging Face. `classes.json`, if "
        "it is there, names the classes in the order of their numbers."
    )
    front_matter = hub_front_matter("*.tar")

    def __init__(self, size: int = 1000, *, files: ImageFiles | None = None) -> None:
        if files is not None and not isinstance(files, ImageFiles):
            raise TypeError(f"files: expected a mtlue.datasets.ImageFiles or None, got {files!r}")
        self.part_size = check_count("size", size, minimum=1)
        self.files = PNG() if files is None else files

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.part_size}, files={self.files})"

    def check(self, samples: ExportSamples) -> None:
        """Refuse what the image format cannot hold, and names that could not be read again."""
        self.files.check(samples)

    def write(self, folder: Path, samples: ExportSamples) -> None:
        """Write an archive."""
        classes = [name for name, task in samples.tasks.items() if not task.is_map]
        write_class_names(samples.classes, folder)
        # The older format of headers holds nothing that differs from process to process, and long names fit too.
        with tarfile.open(folder / f"{samples.part:06d}.tar", "w", format=tarfile.GNU_FORMAT) as archive:
            for index, image, targets in samples:
                _add(archive, f"{index:06d}.{self.files.suffix}", self.files.encode(image))
                labels = {name: targets[name].item() for name in classes}
                if len(labels) == 1:
                    _add(archive, f"{index:06d}.cls", str(labels[classes[0]]).encode())
                _add(archive, f"{index:06d}.json", json.dumps(labels).encode())
                for name in [name for name in samples.tasks if name not in labels]:
                    _add(archive, f"{index:06d}.{name}.npy", encode_array(targets[name]))

    def read(self, folder: Path) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Yield the samples of all archives in order."""
        for path in sorted(folder.glob("*.tar")):
            with tarfile.open(path) as archive:
                sample: dict[str, bytes] = {}
                last = ""
                for member in archive:
                    key, _, kind = member.name.partition(".")
                    if sample and key != last:
                        yield self._decoded(sample)
                        sample = {}
                    file = archive.extractfile(member)
                    sample[kind], last = b"" if file is None else file.read(), key
                if sample:
                    yield self._decoded(sample)

    def _decoded(self, sample: dict[str, bytes]) -> tuple[Tensor, dict[str, Tensor]]:
        targets = {name: torch.tensor(label) for name, label in json.loads(sample.pop("json")).items()}
        sample.pop("cls", None)
        image = self.files.read_bytes(sample.pop(self.files.suffix))
        return image, targets | {kind.removesuffix(".npy"): decode_array(content) for kind, content in sample.items()}


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    # Owner and time stay empty, because they would identify the machine.
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
