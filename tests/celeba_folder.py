"""CelebA's folder with a few small images, and its files as their authors publish them."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

# The true list has forty; the header line ends in a space, and numbers are set off by one space or two.
NAMES = [f"Attribute_{index}" for index in range(39)] + ["Smiling"]
PARTITION = (0, 0, 0, 1, 1, 2, 2)
SIZE = (178, 218)


def attributes(index: int) -> list[int]:
    """Raw attributes, -1 or 1, of an image."""
    return [1 if (index + column) % 3 == 0 else -1 for column in range(40)]


def write_files(root: Path) -> None:
    folder = root / "celeba"
    images = folder / "img_align_celeba"
    images.mkdir(parents=True)
    files = [f"{index + 1:06}.jpg" for index in range(len(PARTITION))]
    for index, name in enumerate(files):
        image = Image.new("RGB", SIZE, (0, 0, 255))
        # The centre square of 140 pixels: columns 19 to 158 and rows 39 to 178.
        image.paste((20 * index, 255, 0), (19, 39, 159, 179))
        image.save(images / name, format="PNG")
    rows = ["".join(f" {value:2}" for value in attributes(index)) for index in range(len(files))]
    lines = [str(len(files)), " ".join(NAMES) + " ", *(name + row for name, row in zip(files, rows, strict=True))]
    (folder / "list_attr_celeba.txt").write_text("\n".join(lines) + "\n")
    parts = zip(files, PARTITION, strict=True)
    (folder / "list_eval_partition.txt").write_text("".join(f"{name} {part}\n" for name, part in parts))
    (folder / "identity_CelebA.txt").write_text("".join(f"{name} 7\n" for name in files))
    for name, columns in (("bbox", "image_id x_1 y_1 width height"), ("landmarks_align", "lefteye_x lefteye_y")):
        numbers = " ".join("1" for column in columns.split() if column != "image_id")
        lines = [str(len(files)), columns, *(f"{file}  {numbers}" for file in files)]
        (folder / f"list_{name}_celeba.txt").write_text("\n".join(lines) + "\n")
