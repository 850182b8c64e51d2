"""The script that compares a new loss with others runs, and is short."""

from __future__ import annotations

from pathlib import Path

import pytest

import compare
from optional import needs


@pytest.mark.filterwarnings("ignore::UserWarning")  # of so few images and epochs
def test_it_gives_a_table_a_chart_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs("torchmetrics", extra="evaluation")
    needs("matplotlib", extra="plot")
    compare.main(size=16, epochs=1, seeds=(0, 1), output=str(tmp_path / "out"))
    table = (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out.strip().endswith(table.strip()[-100:])
    for name in ("mine", "EM", "TAP", "SEP", "AR"):
        assert f"{name} 2" in table
        assert f"| multi-task | {name} |" in table
    assert (tmp_path / "out" / "page.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert (tmp_path / "out" / "chart.png").stat().st_size > 1000


def test_it_is_short() -> None:
    assert len(Path(compare.__file__).read_text(encoding="utf-8").splitlines()) < 60
