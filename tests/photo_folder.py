"""A folder of four small photos with a table of labels, and what is read from it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from mtlue.datasets import ImageTable

TABLE = """photo,age,race,lit
a.png,3,Indian,1
sub/b.png,0,Asian,
c.png,,White,0
d.png,-1,,1
"""


def write_photos(root: Path) -> Path:
    """Two images in colour, a grey and a transparent one, each of one colour, with a line of labels each."""
    (root / "sub").mkdir()
    Image.new("RGB", (6, 4), (10, 20, 30)).save(root / "a.png")
    Image.new("L", (6, 4), 40).save(root / "sub" / "b.png")
    Image.new("RGBA", (6, 4), (50, 60, 70, 80)).save(root / "c.png")
    Image.new("RGB", (6, 4), (90, 80, 70)).save(root / "d.png")
    (root / "labels.csv").write_text(TABLE)
    return root


def labels_of(dataset: ImageTable) -> dict[str, list[int]]:
    return {name: [int(targets[name]) for _, targets in dataset] for name in dataset.tasks}


def write_table(root: Path, *rows: str) -> None:
    (root / "labels.csv").write_text("\n".join(rows))
