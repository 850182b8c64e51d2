"""The generator and its parts."""

from mtlue._generator.class_embeddings import ClassEmbeddingBank
from mtlue._generator.dense_embedder import DenseEmbedder
from mtlue._generator.generator import UEGenerator
from mtlue._generator.on_batches import OnBatches, generation_batch_size
from mtlue._generator.rounding import add_in_levels, add_levels, add_to_images, check_levels, largest_level

__all__ = [
    "ClassEmbeddingBank",
    "DenseEmbedder",
    "OnBatches",
    "UEGenerator",
    "add_in_levels",
    "add_levels",
    "add_to_images",
    "check_levels",
    "generation_batch_size",
    "largest_level",
]
