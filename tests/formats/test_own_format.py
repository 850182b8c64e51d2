"""Formats of files: what is written is read, and one from outside the package is as good as the library's own."""

from __future__ import annotations

import io
import itertools
import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

import mtlue
from mtlue import baselines, datasets
from mtlue._formats import NPY, PNG


class PPM(datasets.ImageFiles):
    """A format written by hand, for grey images and colours."""

    suffix = "ppm"
    channels = (1, 3)

    def encode(self, image: Tensor) -> bytes:
        channels, height, width = image.shape
        head = f"P{5 if channels == 1 else 6} {width} {height} 255\n".encode()
        return head + image.permute(1, 2, 0).contiguous().numpy().tobytes()

    def decode(self, content: bytes) -> Tensor:
        head, pixels = content.split(b"\n", 1)
        kind, width, height, _ = head.split()
        values = torch.frombuffer(bytearray(pixels), dtype=torch.uint8)
        return values.view(int(height), int(width), 1 if kind == b"P5" else 3).permute(2, 0, 1)


class Pillow(datasets.ImageFiles):
    """A format that Pillow writes and reads."""

    def __init__(self, suffix: str, **settings: Any) -> None:
        self.suffix, self.settings = suffix, settings  # type: ignore[misc]  # an attribute of this object alone

    def encode(self, image: Tensor) -> bytes:
        file = io.BytesIO()
        to_pil_image(image).save(file, self.suffix, **self.settings)
        return file.getvalue()

    def decode(self, content: bytes) -> Any:
        return Image.open(io.BytesIO(content))


class Shards(datasets.ExportFormat):
    """Archives of so many samples each, labels and maps beside the image."""

    def __init__(self, size: int) -> None:
        self.size = size

    def check(self, samples: datasets.ExportSamples) -> None:
        if samples.channels > 4:
            raise ValueError(f"format: Shards holds up to 4 channels, but the images have {samples.channels}")

    def write(self, folder: Path, samples: datasets.ExportSamples) -> None:
        (folder / "about.json").write_text(json.dumps({"length": len(samples), "classes": samples.classes}))
        for shard, part in itertools.groupby(samples, lambda sample: sample[0] // self.size):
            with tarfile.open(folder / f"{shard}.tar", "w") as archive:
                for index, image, targets in part:
                    file = io.BytesIO()
                    torch.save((image, targets), file)
                    entry = tarfile.TarInfo(f"{index}.pt")
                    entry.size = file.tell()
                    file.seek(0)
                    archive.addfile(entry, file)

    def read(self, folder: Path) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        for shard in sorted(folder.glob("*.tar"), key=lambda path: int(path.stem)):
            with tarfile.open(shard) as archive:
                for member in archive:
                    file = archive.extractfile(member)
                    assert file is not None
                    image, targets = torch.load(io.BytesIO(file.read()), weights_only=True)
                    yield image, targets


class Named(list[Any]):
    """A data set that tells the names of its classes."""

    classes = {"scene": ["hall", "bath", "loft"]}  # noqa: RUF012


TASKS = {
    "scene": mtlue.Classification(3, ignore_index=255),
    "depth": mtlue.Depth(),
    "lit": mtlue.Classification(2),
    "parts": mtlue.Segmentation(4),
}


def rooms(channels: int = 3, length: int = 7) -> Any:
    """Samples of two sizes, some of them without a label."""
    random = torch.Generator().manual_seed(0)
    samples = Named()
    for index in range(length):
        size = (8, 9 + index % 2)
        samples.append((
            torch.randint(256, (channels, *size), generator=random, dtype=torch.uint8),
            {
                "scene": 255 if index == 2 else index % 3,
                "depth": torch.rand(1, *size, generator=random),
                "lit": -1 if index == 4 else index % 2,
                "parts": torch.randint(-1, 4, size, generator=random),
            },
        ))
    return samples


def protected_rooms(channels: int = 3) -> Any:
    return baselines.random_noise(rooms(channels), tasks=TASKS)


def same(read: Any, safe: Any) -> None:
    """What was read is what is stored, with -1 for missing labels whatever stood for them."""
    read = list(read)
    assert len(read) == len(safe) == 7
    for index, (image, targets) in enumerate(read):
        given = safe[index][1]
        assert torch.equal(image, safe.stored_image(index))
        assert image.dtype == torch.uint8
        assert set(targets) == set(TASKS)
        assert int(targets["scene"]) == (-1 if given["scene"] == 255 else given["scene"])
        assert int(targets["lit"]) == given["lit"]
        for name in ("depth", "parts"):
            assert torch.equal(targets[name], given[name])


FORMATS = [PNG(), NPY(), PPM(), Shards(3), Shards(100), Pillow("tiff"), Pillow("bmp")]


@pytest.mark.parametrize("format", FORMATS, ids=repr)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_a_format_writes_it_reads(tmp_path: Path, format: Any, channels: int) -> None:
    safe = protected_rooms(channels)
    safe.with_transform(lambda image: image * 0).export(tmp_path / "out", format=format)
    same(format.read(tmp_path / "out"), safe)


@pytest.mark.parametrize("format", [PPM(), Pillow("tiff")], ids=repr)
def test_a_table_reads_images_of_a_format_of_one_s_own(tmp_path: Path, format: Any) -> None:
    safe = protected_rooms()
    safe.export(tmp_path, format=format)
    published = datasets.ImageTable(tmp_path, tasks={"scene": 3, "depth": mtlue.Depth()}, format=format)
    assert published.classes == Named.classes
    for (image, targets), (protected, given) in zip(published, safe, strict=True):
        assert torch.equal(image, protected)
        assert int(targets["scene"]) == (-1 if given["scene"] == 255 else given["scene"])
        assert torch.equal(targets["depth"], given["depth"])


def test_labels_are_the_same_files_in_each_format(tmp_path: Path) -> None:
    safe = protected_rooms()
    for name, format in (("png", "png"), ("own", PPM())):
        safe.export(tmp_path / name, format=format)
    table = (tmp_path / "png" / "labels.csv").read_text()
    assert (tmp_path / "own" / "labels.csv").read_text() == table.replace(".png", ".ppm")
    files = {path.relative_to(tmp_path / "png") for path in (tmp_path / "png").rglob("*") if path.suffix in (".npy", ".json")}
    files.remove(Path("mtlue.json"))
    assert len(files) == 7 * 2 + 1
    assert all((tmp_path / "png" / file).read_bytes() == (tmp_path / "own" / file).read_bytes() for file in files)


def test_a_format_gets_names_and_numbers_of_what_it_writes(tmp_path: Path) -> None:
    protected_rooms().export(tmp_path, format=Shards(3))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "0.tar", "1.tar", "2.tar", "README.md", "about.json", "mtlue.json",
    ]  # fmt: skip
    assert json.loads((tmp_path / "about.json").read_text()) == {"length": 7, "classes": Named.classes}
    with tarfile.open(tmp_path / "1.tar") as archive:
        assert archive.getnames() == ["3.pt", "4.pt", "5.pt"]


class Noted(Shards):
    """Also writes two files, beside each other in a folder, that grow with each part."""

    def write(self, folder: Path, samples: datasets.ExportSamples) -> None:
        super().write(folder, samples)
        (folder / "NOTES").mkdir()
        for name in ("places", "dates"):
            (folder / "NOTES" / name).write_text(f"{len(samples)} {name} in part {samples.part}\n")

    def join(self, name: str, files: Sequence[Path]) -> bytes:
        return b"".join(file.read_bytes() for file in files)


def test_files_that_several_parts_share_are_joined(tmp_path: Path) -> None:
    for length in (7, 3):
        baselines.random_noise(rooms(3, length), tasks=TASKS).export(tmp_path / "out", format=Noted(1), append=length == 3)
    for name in ("places", "dates"):
        assert (tmp_path / "out" / "NOTES" / name).read_text() == f"7 {name} in part 0\n3 {name} in part 1\n"
    assert len(list(Noted(1).read(tmp_path / "out"))) == 10


@pytest.mark.parametrize(
    ("format", "channels", "words"),
    [
        (PPM(), 5, "format: PPM holds 1 or 3 channels, but the images have 5; use format='npy'"),
        (Shards(3), 5, "format: Shards holds up to 4 channels, but the images have 5"),
        (Pillow("jpeg", quality=95), 3, "format: Pillow does not give back the pixels of the first image; a lossy format"),
        # Pillow has no grey WebP, and turns the image into one of three channels.
        (Pillow("webp", lossless=True), 1, "format: Pillow does not give back the pixels of the first image"),
    ],
)
def test_what_a_format_cannot_hold_is_refused_before_anything_is_written(
    tmp_path: Path, format: Any, channels: int, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        protected_rooms(channels).export(tmp_path / "out", format=format)
    assert not (tmp_path / "out").exists()


def test_wrong_formats(tmp_path: Path) -> None:
    safe = protected_rooms()
    with pytest.raises(TypeError, match=r"format: expected an object such as PPM\(\), got the class PPM"):
        safe.export(tmp_path / "out", format=PPM)
    for wrong in (None, 5, []):
        with pytest.raises(ValueError, match=r"format: expected one of \('png', 'npy', 'webdataset', 'parquet'\), got "):
            safe.export(tmp_path / "out", format=wrong)
    safe.export(tmp_path / "out", format=PPM())
    with pytest.raises(FileExistsError, match=r"folder: .* is not empty"):
        safe.export(tmp_path / "out")
    for wrong in ("ppm", PPM, Shards(3)):
        with pytest.raises(TypeError, match=r"format: expected a mtlue\.datasets\.ImageFiles or None"):
            datasets.ImageTable(tmp_path / "out", format=wrong)  # type: ignore[arg-type]


def test_a_format_that_changes_what_it_gets_does_not_change_the_set(tmp_path: Path) -> None:
    class Eraser(NPY):
        def encode(self, image: Tensor) -> bytes:
            content = super().encode(image)
            image.zero_()
            return content

    class Careless(Eraser):
        def check(self, samples: datasets.ExportSamples) -> None:
            self.encode(next(iter(samples))[1])

    safe = protected_rooms()
    stored = [safe.stored_image(index) for index in range(7)]
    safe.export(tmp_path / "out", format=Careless())
    assert all(torch.equal(safe.stored_image(index), image) for index, image in enumerate(stored))
    same(NPY().read(tmp_path / "out"), safe)


def test_a_damaged_array_is_told_with_its_file(tmp_path: Path) -> None:
    protected_rooms(5).export(tmp_path, format="npy")
    for content in (b"", b"no array"):
        (tmp_path / "images" / "000000.npy").write_bytes(content)
        with pytest.raises(ValueError, match=r"000000\.npy: cannot be read as an image \(cannot be read as a NumPy file"):
            datasets.ImageTable(tmp_path)[0]
