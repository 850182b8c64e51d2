"""The generator and its parts."""

from mtlue._generator.class_embeddings import ClassEmbeddingBank
from mtlue._generator.dense_embedder import DenseEmbedder
from mtlue._generator.generator import UEGenerator

__all__ = ["ClassEmbeddingBank", "DenseEmbedder", "UEGenerator"]
