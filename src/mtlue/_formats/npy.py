"""One NumPy file an image."""

from __future__ import annotations

from torch import Tensor

from mtlue._formats.arrays import decode_array, encode_array
from mtlue._formats.image_files import ImageFiles


class NPY(ImageFiles):
    """NumPy files, which hold images of any number of channels."""

    suffix = "npy"

    def encode(self, image: Tensor) -> bytes:
        """The content of a NumPy file."""
        return encode_array(image)

    def decode(self, content: bytes) -> Tensor:
        """The image as a tensor."""
        return decode_array(content)
