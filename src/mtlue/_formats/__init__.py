"""Keep protected images in memory and in folders. Each format has its writer and its reader side by side."""

from mtlue._formats.arrays import decode_array, load_array
from mtlue._formats.class_names import class_names, read_class_names
from mtlue._formats.export import export, read_manifest
from mtlue._formats.export_format import ExportFormat, ExportSamples
from mtlue._formats.image_files import NPY, PNG, ImageFiles, find_map
from mtlue._formats.images import Images, ImageSink, MemoryImages, Portion
from mtlue._formats.manifest import EXPORT_MANIFEST, Fields, exported_tasks, signed
from mtlue._formats.parquet import ParquetShards
from mtlue._formats.parts import check_finished
from mtlue._formats.readme import README
from mtlue._formats.store import StoreWriter
from mtlue._formats.stored_images import StoredImages
from mtlue._formats.tar_shards import TarShards
from mtlue._formats.verify import Description, verify
from mtlue._formats.work_folder import POLL, WorkFolder

__all__ = [
    "EXPORT_MANIFEST",
    "NPY",
    "PNG",
    "POLL",
    "README",
    "Description",
    "ExportFormat",
    "ExportSamples",
    "Fields",
    "ImageFiles",
    "ImageSink",
    "Images",
    "MemoryImages",
    "ParquetShards",
    "Portion",
    "StoreWriter",
    "StoredImages",
    "TarShards",
    "WorkFolder",
    "check_finished",
    "class_names",
    "decode_array",
    "export",
    "exported_tasks",
    "find_map",
    "load_array",
    "read_class_names",
    "read_manifest",
    "signed",
    "verify",
]
