"""CelebA: faces with forty binary attributes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from torch import Tensor
from torchvision import datasets
from torchvision.datasets.utils import check_integrity

from mtlue._checks import check_image_size
from mtlue._tasks import Classification
from mtlue.datasets._files import check_exist, check_root, check_split
from mtlue.datasets._labelled_images import LabelledImages

_CROP = 140


class CelebA(LabelledImages):
    r"""The aligned faces of CelebA with forty binary attributes (Liu et al., 2015).

    ``torchvision.datasets.CelebA`` reads the text files and checks their MD5 sums. The folder has to look like this::

        root/celeba/img_align_celeba/000001.jpg ...
        root/celeba/list_attr_celeba.txt, list_eval_partition.txt, identity_CelebA.txt,
                    list_bbox_celeba.txt, list_landmarks_align_celeba.txt

    The tasks have the names and the order of the attribute file. 1 means that a face has the attribute, 0 (-1 in the file) that
    it does not.

    Args:
        root: Folder that contains ``celeba``.
        split: ``"train"`` (162,770 images), ``"valid"`` (19,867) or ``"test"`` (19,962).
        image_size: A side, or height and width, of the result. The centre square of 140 pixels, which shows the face, is
            cropped and resized to it. The paper uses ``image_size=70``. None returns the whole image, 218 by 178 pixels.

    Attributes:
        tasks: The forty tasks by name.
        split: As given.
        image_size: Height and width, or None.

    Raises:
        TypeError: an argument has the wrong type.
        ValueError: an argument is out of range, or a text file is not the published one.
        FileNotFoundError: a file is missing.

    Example:
        >>> import pathlib, tempfile
        >>> from unittest import mock
        >>> from PIL import Image
        >>> from torchvision.datasets import CelebA as Published
        >>> from mtlue import datasets
        >>> # A folder of one image stands for the data set here, and its sums are not checked.
        >>> unchecked = mock.patch.object(Published, "_check_integrity")
        >>> with tempfile.TemporaryDirectory() as root, unchecked:
        ...     folder = pathlib.Path(root, "celeba")
        ...     (folder / "img_align_celeba").mkdir(parents=True)
        ...     Image.new("RGB", (178, 218)).save(folder / "img_align_celeba" / "000001.jpg")
        ...     table = "2\nSmiling Young\n000001.jpg 1 -1\n000002.jpg -1 -1"
        ...     for name in ("attr", "bbox", "landmarks_align"):
        ...         _ = (folder / f"list_{name}_celeba.txt").write_text(table)
        ...     for name in ("list_eval_partition", "identity_CelebA"):
        ...         _ = (folder / f"{name}.txt").write_text("000001.jpg 0\n000002.jpg 0")
        ...     image, targets = datasets.CelebA(root, split="train", image_size=70)[0]
        >>> image.shape, targets
        (torch.Size([3, 70, 70]), {'Smiling': tensor(1), 'Young': tensor(0)})
    """

    _source = (
        "get the aligned images (img_align_celeba.zip) and the text files of CelebA from "
        "https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html and put them into a folder 'celeba' in root"
    )

    def __init__(self, root: str | os.PathLike[str], *, split: str, image_size: int | tuple[int, int] | None = None) -> None:
        folder = check_root(root, source=self._source)
        split = check_split(split, ("train", "valid", "test"))
        size = check_image_size(image_size)
        published = _open(folder, split, self._source)
        images = folder / published.base_folder / "img_align_celeba"
        # The header line ends in a space, after which torchvision reads an additional, empty name.
        names = [name for name in published.attr_names if name]
        super().__init__(
            [str(images / name) for name in published.filename],
            published.attr,
            tasks={name: Classification(2) for name in names},
            split=split,
            image_size=size,
        )

    def _crop(self, image: Tensor) -> Tensor:
        """Return the centre square of 140 pixels."""
        height, width = (min(side, _CROP) for side in image.shape[-2:])
        top, left = (image.shape[-2] - height) // 2, (image.shape[-1] - width) // 2
        return image[:, top : top + height, left : left + width]


def _open(root: Path, split: str, source: str) -> Any:
    reader = datasets.CelebA
    folder = root / reader.base_folder
    sums = {folder / name: md5 for _, md5, name in reader.file_list if name.endswith(".txt")}
    check_exist([*sums, folder / "img_align_celeba"], source=source)
    try:
        return reader(root, split=split, target_type="attr")
    except RuntimeError as error:
        broken = [path.name for path, md5 in sums.items() if not check_integrity(path, md5)]
        raise ValueError(f"{folder}: not the published files, by their MD5 sums: {', '.join(broken)}; {source}") from error
