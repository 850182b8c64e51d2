"""Protected images in memory and in folders: each format has its writer and its reader side by side."""

from mtlue._formats.arrays import load_array
from mtlue._formats.class_names import class_names, read_class_names
from mtlue._formats.export import export
from mtlue._formats.export_format import ExportFormat, ExportSamples
from mtlue._formats.image_files import NPY, PNG, ImageFiles, map_path
from mtlue._formats.images import Images, ImageSink, MemoryImages
from mtlue._formats.store import SETTINGS, StoredImages, StoreWriter, is_published, read_json

__all__ = [
    "NPY",
    "PNG",
    "SETTINGS",
    "ExportFormat",
    "ExportSamples",
    "ImageFiles",
    "ImageSink",
    "Images",
    "MemoryImages",
    "StoreWriter",
    "StoredImages",
    "class_names",
    "export",
    "is_published",
    "load_array",
    "map_path",
    "read_class_names",
    "read_json",
]
