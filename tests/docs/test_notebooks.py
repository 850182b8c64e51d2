"""The notebooks run from top to bottom, with their settings shortened, and what is committed of their outputs is clean."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

from noise_rooms import write_rooms

EXAMPLES = Path(__file__).parents[2] / "examples"
#: In place of each notebook's own settings.
SHORT: dict[str, dict[str, object]] = {
    "quickstart": {"images": 96, "generator_epochs": 1, "victim_epochs": 1},
    "own_loss": {"images": 96, "generator_epochs": 1, "victim_epochs": 1, "search_steps": 2},
    "dense": {"rooms": "rooms", "size": 16, "images": 16, "generator_epochs": 1, "victim_epochs": 1},
    "evaluate_and_break": {"images": 96, "generator_epochs": 1, "victim_epochs": 1, "attack_steps": 1},
}
#: Bytes of a notebook with its pictures.
LARGEST = 700_000

every_notebook = pytest.mark.parametrize("name", sorted(SHORT))


def read(name: str) -> Any:
    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)


def settings(notebook: Any) -> str:
    (source,) = (cell.source for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    return str(source)


def test_each_notebook_is_tried() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == set(SHORT)


@every_notebook
def test_a_notebook_runs_from_top_to_bottom(name: str, tmp_path: Path) -> None:
    for module in EXAMPLES.glob("*.py"):
        shutil.copy(module, tmp_path)
    (tmp_path / "data").symlink_to(EXAMPLES / "data")
    write_rooms(tmp_path / "rooms", train=16, test=4, size=16)
    assert set(SHORT[name]) <= {node.id for node in ast.walk(ast.parse(settings(read(name)))) if isinstance(node, ast.Name)}
    papermill.execute_notebook(
        EXAMPLES / f"{name}.ipynb",
        tmp_path / "out.ipynb",
        parameters=SHORT[name],
        cwd=tmp_path,
        progress_bar=False,
    )


@every_notebook
def test_committed_outputs_come_from_one_run_without_a_complaint(name: str) -> None:
    notebook = read(name)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert {output.output_type for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    texts = [str(output.get("text", "")) + str(output.get("data", {}).get("text/plain", "")) for output in outputs]
    assert not [text for text in texts if re.search(r"/(tmp|home|root|Users)/|0x[0-9a-f]{6}", text)]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert (EXAMPLES / f"{name}.ipynb").stat().st_size < LARGEST


@every_notebook
def test_pages_that_a_notebook_points_to_are_there(name: str) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", "\n".join(cell.source for cell in read(name).cells))
    assert not [link for link in links if not (EXAMPLES / link).is_file()]
