"""One PNG file an image."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import to_pil_image

from mtlue._formats.image_files import ImageFiles


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
