"""The page that tells readers of an export that its images are protected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version

from mtlue._formats.export_format import ExportFormat
from mtlue._tasks import Task

#: The name of the page. Hugging Face, and most people, read it first.
README = "README.md"


def hub_front_matter(files: str) -> str:
    """Return the YAML by which Hugging Face recognises a folder as a data set: it says which files hold the rows."""
    return f"""\
configs:
- config_name: default
  data_files:
  - split: train
    path: "{files}"
tags:
- mtlue
- unlearnable-examples
"""


def readme_text(tasks: Mapping[str, Task], format: ExportFormat, *, epsilon: float, learnable: Sequence[str]) -> str:
    """Return the text of the page, which says nothing that helps to undo the protection.

    Args:
        tasks: Tasks by name.
        format: The format, which describes the files.
        epsilon: The budget on the scale of [0, 1].
        learnable: Names of the unprotected tasks.
    """
    # A bar would end the cell of a table.
    labels = ", ".join(f"{name} ({_kind(task)})" for name, task in tasks.items()).replace("|", "&#124;")
    rows = [
        ("Labels", labels),
        *([("Left learnable", ", ".join(learnable))] if learnable else []),
        ("Largest change of a pixel", f"{255 * epsilon:.4g} of 255 levels"),
        ("Protected with", f"mtlue {version('mtlue')}"),
    ]
    lines = [f"| {name} | {value} |" for name, value in rows]
    table = "\n".join(["| | |", "|---|---|", *lines])
    head = f"---\n{format.front_matter}---\n\n" if format.front_matter else ""
    return f"""\
{head}# A protected image set

The images in this set are protected. They look like the originals, but a network that you train on them learns little that
holds for other images. If your model does badly on photographs of your own, this is why.

{table}

## Files

{format.description or "The owner of this set chose the format of its files."}

`mtlue.json` lists all files with their checksums; `mtlue verify FOLDER` compares them.

Do not compress or resize the images: that weakens the protection.
"""


def _kind(task: Task) -> str:
    return "label maps" if task.is_map else f"{task.num_embeddings} classes"
