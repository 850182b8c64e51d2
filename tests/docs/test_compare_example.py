"""The script that compares a new loss with others runs, needs no other file of ours, and is short."""

from __future__ import annotations

import ast
import gzip
import sys
from pathlib import Path

import pytest

import compare
from multi_fashion import SUBSET
from optional import needs

EXAMPLE = Path(compare.__file__)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of so few images and epochs
def test_it_prints_a_table_and_draws_a_chart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needs("torchmetrics", extra="evaluation")
    needs("matplotlib", extra="plot")
    # Where torchvision would put what it downloads.
    raw = tmp_path / "data" / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for file in SUBSET.glob("*.gz"):
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
    monkeypatch.chdir(tmp_path)
    compare.main(size=16, epochs=1, seeds=(0, 1))
    table = capsys.readouterr().out
    for name in ("mine", "EM", "TAP", "SEP", "AR"):
        assert f"{name} 2" in table
        assert f"| multi-task | {name} |" in table
    assert (tmp_path / "comparison.png").stat().st_size > 1000


def test_it_imports_nothing_that_lies_beside_it() -> None:
    tree = ast.walk(ast.parse(EXAMPLE.read_text(encoding="utf-8")))
    modules = {each.module or "" for each in tree if isinstance(each, ast.ImportFrom)} | {
        name.name for each in tree if isinstance(each, ast.Import) for name in each.names
    }
    roots = {module.partition(".")[0] for module in modules}
    assert roots <= {"mtlue", "torch", "torchvision"} | sys.stdlib_module_names


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) < 60
