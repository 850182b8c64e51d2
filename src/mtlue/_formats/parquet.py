"""Parquet files that Hugging Face's library reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mtlue._checks import check_count
from mtlue._formats.export_format import ExportFormat, ExportSamples
from mtlue._formats.image_files import PNG
from mtlue._formats.names import check_names
from mtlue._formats.readme import hub_front_matter
from mtlue._runtime import require

_IMAGE = "image"
_ROWS_A_GROUP = 100


class ParquetShards(ExportFormat):
    """Parquet files with a fixed number of samples each, as ``datasets.load_dataset("parquet", …)`` reads them.

    ``data/000000.parquet`` has a column ``image`` of PNG files and a column for each task: class labels, empty if missing, or
    nested lists for label maps. Its metadata holds the columns' types and the class names. Needs ``pyarrow``, which
    ``mtlue[huggingface]`` brings.

    Args:
        size: Samples in a file.
        compress_level: As in `mtlue.datasets.PNG`.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range.

    Example:
        >>> import tempfile
        >>> import torch
        >>> from mtlue import baselines, datasets
        >>> protected = baselines.random_noise([(torch.rand(3, 8, 8), label) for label in (0, 1, 1)], tasks={"gender": 2})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     protected.export(f"{folder}/out", format=datasets.ParquetShards(size=2))
        ...     import pyarrow.parquet
        ...     pyarrow.parquet.read_table(f"{folder}/out/data")["gender"].to_pylist()
        [0, 1, 1]
    """

    description = (
        "Each row in the Parquet files is an image, stored as a PNG file, with its labels: the number of a class, empty where "
        "the label is unknown, or a label map as nested lists. The names of the classes are in the metadata."
    )
    front_matter = hub_front_matter("data/*.parquet")

    def __init__(self, size: int = 1000, *, compress_level: int = 4) -> None:
        self.part_size = check_count("size", size, minimum=1)
        self.files = PNG(compress_level)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.part_size}, compress_level={self.files.compress_level})"

    def check(self, samples: ExportSamples) -> None:
        """Refuse images that PNG cannot hold, and names that could not be read again.

        Raises:
            ImportError: ``pyarrow`` is not installed.
            ValueError: images or names are refused.
        """
        require("pyarrow", extra="huggingface")
        check_names(samples.tasks, taken=[_IMAGE])
        self.files.check(samples)

    def write(self, folder: Path, samples: ExportSamples) -> None:
        """Write a file."""
        arrow, parquet = _libraries()
        _, _, first = next(iter(samples))
        schema, rows = _schema(arrow, samples, first), list[dict[str, Any]]()
        (folder / "data").mkdir()
        with parquet.ParquetWriter(folder / "data" / f"{samples.part:06d}.parquet", schema, compression="zstd") as writer:
            for index, image, targets in samples:
                labels = {name: _value(samples, name, target) for name, target in targets.items()}
                # The image as a struct of bytes and name, as the library's own files have it.
                rows.append({_IMAGE: {"bytes": self.files.encode(image), "path": self.file_name(index)}, **labels})
                if len(rows) == _ROWS_A_GROUP:
                    writer.write_table(arrow.Table.from_pylist(rows, schema=schema))
                    rows = []
            if rows:
                writer.write_table(arrow.Table.from_pylist(rows, schema=schema))

    def file_name(self, index: int) -> str:
        """What a row calls its image."""
        return f"{index:06d}.{self.files.suffix}"

    def read(self, folder: Path) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        """Yield the samples of all files in order."""
        _, parquet = _libraries()
        for path in sorted((folder / "data").glob("*.parquet")):
            for batch in parquet.ParquetFile(path).iter_batches(batch_size=_ROWS_A_GROUP):
                for row in batch.to_pylist():
                    image = self.files.read_bytes(row.pop(_IMAGE)["bytes"])
                    yield image, {name: torch.tensor(-1 if label is None else label) for name, label in row.items()}


def _libraries() -> tuple[Any, Any]:
    return require("pyarrow", extra="huggingface"), require("pyarrow.parquet", extra="huggingface")


def _value(samples: ExportSamples, name: str, target: Tensor) -> Any:
    if samples.tasks[name].is_map:
        return target.tolist()
    # Missing labels are -1 at this point; the library uses an empty cell for them.
    return None if target.item() == -1 else target.item()


def _schema(arrow: Any, samples: ExportSamples, targets: dict[str, Tensor]) -> Any:
    """Return the columns and their types, for Arrow and for the library that reads them."""
    fields: list[Any] = [(_IMAGE, arrow.struct([("bytes", arrow.binary()), ("path", arrow.string())]))]
    features: dict[str, Any] = {_IMAGE: {"_type": "Image"}}
    classes = samples.classes
    for name, target in targets.items():
        dtype = str(target.dtype).removeprefix("torch.")
        kind = arrow.type_for_alias(dtype)
        feature: dict[str, Any] = {"dtype": dtype, "_type": "Value"}
        for _ in range(target.ndim):
            kind, feature = arrow.list_(kind), {"feature": feature, "_type": "List"}
        task = samples.tasks[name]
        if not task.is_map and not target.is_floating_point() and task.num_embeddings:
            feature = {"names": classes.get(name, [str(label) for label in range(task.num_embeddings)]), "_type": "ClassLabel"}
        fields.append((name, kind))
        features[name] = feature
    return arrow.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})
